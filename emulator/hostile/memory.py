"""What memory a scenario took. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Memory:
    """Bytes: of the processes before, at the most, and 10 s after; of Redis at the most. None: not asked for.

    `ended`: processes that were there before and are not 10 s after.
    """

    before: int | None = None
    peak: int | None = None
    after: int | None = None
    redis_peak: int | None = None
    redis_maximum: int | None = None
    ended: int = 0
