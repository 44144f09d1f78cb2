"""Keep the long history within LONG_HISTORY_BYTES and LONG_HISTORY_MESSAGES, beside writing. Ages are MongoDB's own work (TTL).

A step deletes a bounded number of documents, and a pause as long as the step follows: writing is never without its turn.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from pymongo.errors import PyMongoError

from store.long_retention import STEP_DOCUMENTS, LongBounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pymongo.asynchronous.database import AsyncDatabase

    from settings import Settings
    from store.documents import Document
    from store.outlet_state import OutletSize

    Answer = TypeVar("Answer")

MEASURE_S = 10.0
SWEEP_S = 600.0  # from the end of one look at every device to the next
LONGEST_PAUSE_S = 5.0

log = logging.getLogger(__name__)


class LongRetention:
    """Deletes what is too much, oldest first. `on_size` is told what is held, every MEASURE_S or so."""

    def __init__(
        self, database: AsyncDatabase[Document], settings: Settings, on_size: Callable[[OutletSize], None]
    ) -> None:
        self._bounds = LongBounds(database)
        self._max_bytes: int = settings.long_history_bytes
        self._max_messages: int = settings.long_history_messages
        self._on_size = on_size
        self._device: str | None = ""  # looked at last; None: all of them were
        self._sweep_at_s = 0.0

    async def measure(self) -> OutletSize:
        """Look how much there is. Raises PyMongoError."""
        size = await self._bounds.size()
        self._on_size(size)
        return size

    async def run(self) -> None:
        """Keep the bounds until cancelled. What MongoDB does not do now is tried again."""
        while True:
            try:
                await self._keep_bytes()
                await self._keep_messages()
            except PyMongoError as error:
                log.warning("The long history is not looked through: %s", error)
            await asyncio.sleep(MEASURE_S)

    async def _keep_bytes(self) -> None:
        """Delete until it is time for something else."""
        until_s = asyncio.get_running_loop().time() + MEASURE_S
        size = await self.measure()
        while self._max_bytes and size.bytes > self._max_bytes and asyncio.get_running_loop().time() < until_s:
            too_many = -(-(size.bytes - self._max_bytes) * size.documents // size.bytes)
            if not await self._paced(self._bounds.delete_oldest(too_many)):
                return
            size = await self.measure()

    async def _keep_messages(self) -> None:
        """Look at one device after another until it is time to measure again."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if not self._max_messages or now_s < self._sweep_at_s:
            return
        while self._device is not None and loop.time() < now_s + MEASURE_S:
            self._device = await self._paced(self._bounds.next_device(self._device))
            if self._device is not None:
                await self._keep_messages_of(self._device)
        if self._device is None:
            self._device, self._sweep_at_s = "", loop.time() + SWEEP_S

    async def _keep_messages_of(self, device_id: str) -> None:
        last = await self._paced(self._bounds.newest_too_many(device_id, self._max_messages))
        while last is not None:
            if await self._paced(self._bounds.delete_of_device(device_id, last)) < STEP_DOCUMENTS:
                return

    async def _paced(self, step: Awaitable[Answer]) -> Answer:
        """Wait for a step, and then as long as it took."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        answer = await step
        await asyncio.sleep(min(LONGEST_PAUSE_S, loop.time() - started_s))
        return answer
