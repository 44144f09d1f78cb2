"""How long to wait before the next attempt to connect: exponential, with jitter. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

FIRST_S = 0.5
LONGEST_S = 30.0


class Backoff:
    """Delays of 0.5, 1, 2, … up to 30 s, each shortened by up to half so that a fleet does not return as one."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ceiling_s = FIRST_S

    def reset(self) -> None:
        """Begin anew: the last attempt succeeded."""
        self._ceiling_s = FIRST_S

    def next_s(self) -> float:
        """Return the delay before the next attempt, in seconds."""
        delay_s = self._ceiling_s * self._random.uniform(0.5, 1)
        self._ceiling_s = min(LONGEST_S, self._ceiling_s * 2)
        return delay_s
