"""Nobody notices that brokers are killed, paused and replaced, and that their store is cut off: see chaos.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.broker.broker_process import eventually
from tests.cluster.chaos import Chaos, Plan
from tests.cluster.leftovers import leftovers

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_STOP_S = 10.0
SEED = 11


def test_a_fleet_has_all_that_was_acknowledged_through_chaos(tmp_path: Path) -> None:
    """Stored and at its subscribers, in order, QoS 2 and wills once; of nodes that are gone, nothing stays."""
    kinds = ("kill", "long-pause", "deploy", "cut")
    with Chaos(tmp_path) as chaos:
        status, verdict = chaos.run(Plan(SEED, 26, 20, 4, 40, 3, kinds))
        assert status == 0, verdict + chaos.gateway.output
        assert "VERIFIED" in verdict
        eventually(lambda: leftovers(chaos.store.url) == [], "nothing is left of nodes that are gone", 30)
        summary = chaos.gateway.summary()
    assert "Traceback" not in chaos.gateway.output
    endings = re.findall(r"ended with ([A-Z]+|status \d+)", summary)
    assert set(endings) == {"SIGKILL", "status 0"}
    assert all(float(seconds) < LONGEST_STOP_S for seconds in re.findall(r"([\d.]+) s after SIGTERM", summary))
