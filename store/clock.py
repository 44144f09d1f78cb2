"""The wall clock, for what is compared between processes and shown to people."""

from __future__ import annotations

import time


def wall_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
