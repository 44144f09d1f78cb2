"""Decisions are remembered for a while and in bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.host import decisions
from broker.host.decisions import DECISION_AGE_S, FAILURE_AGE_S, Decisions
from broker.host.interface import Action
from broker.host.plugin_calls import LOG_INTERVAL_S, FailureLog

if TYPE_CHECKING:
    import pytest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_decision_is_asked_for_again_when_it_is_old():
    clock = Clock()
    known = Decisions(clock)
    known.put((1, Action.PUBLISH, "a"), is_allowed=True)
    known.put((1, Action.PUBLISH, "b"), is_allowed=False, age_s=FAILURE_AGE_S)
    clock.now += FAILURE_AGE_S + 0.1
    assert known.get((1, Action.PUBLISH, "a")) is True
    assert known.get((1, Action.PUBLISH, "b")) is None
    clock.now += DECISION_AGE_S
    assert known.get((1, Action.PUBLISH, "a")) is None


def test_the_oldest_decision_makes_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decisions, "MAX_DECISIONS", 3)
    known = Decisions(Clock())
    for topic in ("a", "b", "a", "c", "d"):  # a is put again and thus younger than b
        known.put((1, Action.SUBSCRIBE, topic), is_allowed=True)
    assert [known.get((1, Action.SUBSCRIBE, topic)) for topic in "abcd"] == [True, None, True, True]
    assert len(known) == 3


def test_a_failure_is_logged_again_after_a_while_with_the_number_left_out(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    failures = FailureLog(clock)
    for _ in range(3):
        failures.note("Plugin1", "failed", ValueError("x"))
    failures.note("Plugin1", "failed", KeyError("x"))
    failures.note("Plugin2", "failed", ValueError("x"))
    clock.now += LOG_INTERVAL_S
    failures.note("Plugin1", "failed", ValueError("x"))
    assert [record.getMessage() for record in caplog.records] == [
        "Plugin Plugin1 failed.",
        "Plugin Plugin1 failed.",
        "Plugin Plugin2 failed.",
        "Plugin Plugin1 failed (2 more like it since the last one).",
    ]
