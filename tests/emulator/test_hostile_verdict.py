"""What makes a scenario ok, and how it is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from emulator.hostile import report
from emulator.hostile.latencies import Seen
from emulator.hostile.memory import Memory
from emulator.hostile.outcome import Outcome

LIMIT = 256 * 2**20
MIB = 2**20


def outcome(**changed: Any) -> Outcome:
    fine = Outcome(
        "filters-large",
        LIMIT,
        seconds=4.2,
        seen=Seen([0.003, 0.003, 0.21]),
        memory=Memory(before=90 * MIB, peak=121 * MIB, after=98 * MIB),
        counts=Counter({"SUBACK 0x97": 792, "connected": 6}),
    )
    return replace(fine, **changed)


def test_a_scenario_that_nobody_noticed():
    assert outcome().is_ok
    assert " ".join(report.line(outcome()).split()) == (
        "filters-large ok peak 121 MiB puback p50 3 ms worst 210 ms service ok before 90 MiB after 98 MiB"
    )
    assert report.details(outcome()) == ["    4 s, 0 MiB sent and read; answers: 792 SUBACK 0x97, 6 connected"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"seen": Seen([0.003, 0.003, 1.0])}, "a bystander waited 1.0 s"),
        ({"seen": Seen([0.1, 0.1, 0.1])}, "bystanders waited 100 ms (median)"),
        ({"seen": Seen([])}, "the bystander saw nothing"),
        ({"seen": Seen([0.1, 0.001, 0.001], unanswered=2)}, "2 unanswered"),
        ({"seen": Seen([0.001], missing=3)}, "3 acknowledged, not delivered"),
        ({"seen": Seen([0.001], cuts=["publisher: DISCONNECT 0x97", "x"])},
         "bystander hit 2 times (publisher: DISCONNECT 0x97)"),
        ({"memory": Memory(peak=LIMIT)}, "memory 256 MiB"),
        ({"memory": Memory(ended=2)}, "2 processes ended"),
        ({"memory": Memory(redis_peak=300 * MIB, redis_maximum=256 * MIB)}, "Redis 300 MiB of 256 MiB"),
        ({"service": "clean session: no CONNACK within 5 s"}, "service: clean session: no CONNACK within 5 s"),
        ({"restart": "clean session: CONNACK 0x97"}, "after the restart: clean session: CONNACK 0x97"),
        ({"not_run": "no service before the attack: no connection"}, "no service before the attack: no connection"),
    ],
)  # fmt: skip
def test_what_fails_a_scenario(changed: dict[str, Any], reason: str):
    failed = outcome(**changed)
    assert failed.reasons == [reason]
    assert not failed.is_ok


@pytest.mark.parametrize(
    "changed",
    [
        {"memory": Memory()},
        {"memory": Memory(redis_peak=300 * MIB, redis_maximum=0)},
        {"seen": Seen([0.099, 0.099, 0.999])},
        {"memory": Memory(peak=LIMIT - 1)},
        {"restart": ""},
    ],
)
def test_what_does_not(changed: dict[str, Any]):
    assert outcome(**changed).is_ok


def test_memory_that_is_kept_is_told():
    kept = outcome(memory=Memory(before=50 * MIB, peak=200 * MIB, after=150 * MIB))
    assert "    3.0 x of its memory before is still held" in report.details(kept)
    assert kept.is_ok


def test_the_table_and_the_file_say_the_same():
    both = [outcome(), outcome(service="x")]
    assert report.summary(both).splitlines()[-1] == "1 of 2 ok"
    plain = report.for_machines(both)
    assert [each["ok"] for each in plain] == [True, False]
    assert plain[0]["puback_worst_s"] == 0.21
    assert plain[0]["answers"] == {"SUBACK 0x97": 792, "connected": 6}
    assert plain[0]["memory"]["peak"] == 121 * MIB
