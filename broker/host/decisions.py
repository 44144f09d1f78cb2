"""What topic plugins have said, remembered for a while: one question to them costs far more than a message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.host.interface import Action

MAX_DECISIONS = 50_000
DECISION_AGE_S = 30.0
FAILURE_AGE_S = 5.0

Question = tuple[int, "Action", str]  # the connection's number, what it wants to do, the topic


class Decisions:
    """Decisions by question; beyond `MAX_DECISIONS` the oldest goes first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: dict[Question, tuple[bool, float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, question: Question) -> bool | None:
        """Return the decision, None where there is none or it is too old."""
        known = self._known.get(question)
        if known is None or known[1] < self._monotonic():
            return None
        return known[0]

    def put(self, question: Question, *, is_allowed: bool, age_s: float = DECISION_AGE_S) -> None:
        """Remember a decision for `age_s`."""
        self._known.pop(question, None)
        if len(self._known) >= MAX_DECISIONS:
            del self._known[next(iter(self._known))]
        self._known[question] = (is_allowed, self._monotonic() + age_s)
