"""One time by which several steps have to be done."""

from __future__ import annotations

import asyncio


class Deadline:
    """Made in a running event loop; `duration_s` seconds from now."""

    def __init__(self, duration_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_s = self._loop.time() + duration_s

    def left_s(self, most_s: float, least_s: float = 0) -> float:
        """Return how long a step may take: what is left, `most_s` at most, and `least_s` in any case."""
        return max(least_s, min(most_s, self._at_s - self._loop.time()))
