"""A deployment under load: every client is back as soon as it tries, and every old process ends in an orderly way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.cluster.chaos import CONTAINERS, Chaos, Plan

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = 300
LONGEST_STOP_S = 10.0
TURNS = 5
"""How many times as long as when the fleet first connected a client that tries may take. Both times each has its turn among
DEVICES handshakes at once, for which fleet, gateway, brokers and store share the same cores: 0.8 to 1.8 were measured."""
NODE_TIMEOUT_S = 60.0
"""A client that had to wait until its old node is given up would be far beyond that."""


def test_no_client_waits_longer_than_it_pauses_by_itself(tmp_path: Path) -> None:
    """300 lasting sessions, half at QoS 2, that publish all the while; nothing is lost, repeated or out of order."""
    with Chaos(tmp_path, NODE_TIMEOUT_S) as chaos:
        status, output = chaos.run(Plan(1, 12, DEVICES, 1, 100, 60, ("deploy",)))
        assert status == 0, output + chaos.gateway.output
        summary = chaos.gateway.summary()
    print(output, summary)
    connected, connecting_s = _found(r"connected +(\d+) in ([\d.]+) s\n", output)
    (returned,) = _found(r"reconnects +(\d+)\n", output)
    (beyond_backoff_ms,) = _found(r"beyond backoff .* max ([\d.]+)\n", output)
    assert returned >= connected >= DEVICES, output
    assert beyond_backoff_ms < TURNS * connecting_s * 1000, output
    assert re.findall(r"ended with (\S+ \d+|\S+)", summary) == ["status 0"] * 2 * CONTAINERS
    stops = [float(seconds) for seconds in re.findall(r"([\d.]+) s after SIGTERM", summary)]
    assert len(stops) == 2 * CONTAINERS
    assert max(stops) < LONGEST_STOP_S


def _found(pattern: str, output: str) -> list[float]:
    found = re.search(pattern, output)
    assert found is not None, output
    return [float(number) for number in found.groups()]
