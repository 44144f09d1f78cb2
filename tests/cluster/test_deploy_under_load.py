"""A deployment under load: every client is back as soon as it tries, and every old process ends in an orderly way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.cluster.chaos import CONTAINERS, Chaos, Plan

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = 300
LONGEST_STOP_S = 10.0
ALLOWANCE_MS = 6_000
"""For a client that tries: its turn among DEVICES handshakes at once, for which fleet, gateway, brokers and store share the
same cores. Two cores took 1.2 to 1.7 s, and 3 s with six times as much to do."""


def test_no_client_waits_longer_than_it_pauses_by_itself(tmp_path: Path) -> None:
    """300 lasting sessions, half at QoS 2, that publish all the while; nothing is lost, repeated or out of order."""
    with Chaos(tmp_path) as chaos:
        status, output = chaos.run(Plan(1, 12, DEVICES, 1, 100, 60, ("deploy",)))
        assert status == 0, output + chaos.gateway.output
        summary = chaos.gateway.summary()
    print(output, summary)
    returned = re.search(r"reconnects +(\d+)\n", output)
    beyond_backoff_ms = re.search(r"beyond backoff .* max ([\d.]+)\n", output)
    assert returned is not None
    assert int(returned[1]) >= DEVICES, output
    assert beyond_backoff_ms is not None
    assert float(beyond_backoff_ms[1]) < ALLOWANCE_MS, output
    assert re.findall(r"ended with (\S+ \d+|\S+)", summary) == ["status 0"] * 2 * CONTAINERS
    stops = [float(seconds) for seconds in re.findall(r"([\d.]+) s after SIGTERM", summary)]
    assert len(stops) == 2 * CONTAINERS
    assert max(stops) < LONGEST_STOP_S
