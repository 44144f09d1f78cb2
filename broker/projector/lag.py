"""How far the views, and outlets that hold the log, are behind it: the same for every process that looks."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.log_trimming import LogTrimming

log = logging.getLogger(__name__)

MEASURE_S = 0.5


class Lag:
    """`ms`: age of the oldest message that the views do not show; `bytes`: how much of the log waits for them, or for an
    outlet that holds it, about.

    Both as last measured, about MEASURE_S ago.
    """

    def __init__(self, trimming: LogTrimming, now_ms: Callable[[], int]) -> None:
        self.ms = 0
        self.bytes = 0
        self._trimming = trimming
        self._now_ms = now_ms
        self._due_s = 0.0

    async def measure_if_due(self) -> bool:
        """Measure if the last time is long enough ago; return whether it was. Raises redis.RedisError."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + MEASURE_S
        backlog = await self._trimming.backlog()
        self.ms = 0 if backlog.oldest_ms is None else max(0, self._now_ms() - backlog.oldest_ms)
        self.bytes = backlog.bytes
        return True

    async def run(self) -> None:
        """Measure until cancelled, whatever the store does; what was measured last stays while it is away."""
        while True:
            try:
                await self.measure_if_due()
            except (redis.RedisError, OSError) as error:
                log.debug("Lag not measured: %s", error)
            await asyncio.sleep(MEASURE_S)
