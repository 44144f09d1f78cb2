from __future__ import annotations

from collections import Counter

from emulator.gateway.summary import summary
from emulator.gateway.totals import Ending, Totals


def test_an_empty_run():
    assert summary(Totals(), 1.0).splitlines() == [
        "connections     0 in 1.0 s, 0 without a container, 0 left hanging",
        "bytes           0 to containers, 0 to clients",
        "packets dropped 0 over the rate limit, 0 (0 bytes) for containers that were gone",
        "actions         none",
        "containers      0 started, 0 never ready; ready after -",
        "ended           none; after SIGTERM within -, 0 needed SIGKILL",
    ]


def test_a_run_with_everything():
    totals = Totals(
        connections=1234, unanswered=1, abandoned=2, bytes_to_containers=1_000_000, bytes_to_clients=5,
        packets_over_rate=7, packets_for_gone=8, bytes_for_gone=9_000, containers=3, never_ready=1,
        done=Counter(deploy=2, kill=1), failed=Counter(scale=1),
    )  # fmt: skip
    totals.endings.append(Ending("tcp-1[10]", "status 0", 0.5, 0.25, was_killed_late=False))
    totals.endings.append(Ending("tcp-2[11]", "SIGKILL", 1.5, 30.0, was_killed_late=True))
    totals.endings.append(Ending("tcp-3[12]", "status 3", None, None, was_killed_late=False))
    assert summary(totals, 61.26).splitlines() == [
        "connections     1,234 in 61.3 s, 1 without a container, 2 left hanging",
        "bytes           1,000,000 to containers, 5 to clients",
        "packets dropped 7 over the rate limit, 8 (9,000 bytes) for containers that were gone",
        "actions         2 deploy, 1 kill; failed: 1 scale",
        "containers      3 started, 1 never ready; ready after 1.50 s (longest 1.50)",
        "ended           1 status 0, 1 SIGKILL, 1 status 3; after SIGTERM within 30.00 s (longest 30.00), 1 needed SIGKILL",
        "  tcp-1[10]     ready after 0.50 s, ended with status 0, 0.25 s after SIGTERM",
        "  tcp-2[11]     ready after 1.50 s, ended with SIGKILL, 30.00 s after SIGTERM",
        "  tcp-3[12]     never ready, ended with status 3",
    ]


def test_only_the_last_endings_have_lines():
    totals = Totals()
    for number in range(50):
        totals.endings.append(Ending(f"tcp-1[{number}]", "status 0", 0.1, 0.1, was_killed_late=False))
    lines = summary(totals, 1.0).splitlines()
    assert len(lines) == 26
    assert "tcp-1[49]" in lines[-1]
    assert "50 status 0" in lines[5]
