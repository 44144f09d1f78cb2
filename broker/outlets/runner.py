"""Keep one outlet behind the ingest log: read the log, write to the outlet, note the position. One node at a time does it.

Neither the lease nor the position has to be exact: an outlet takes every message again without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import redis

from broker.outlets.outlet import BATCH_MESSAGES
from store import schema
from store.cluster_link import views_link
from store.ingest_log import IngestLog, decode_entry, fills_a_read
from store.model import START, DeviceNaming, MessageId
from store.outlet_progress import OutletProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from redis.asyncio import Redis

    from broker.outlets.outlet import LoggedMessage, Outlet
    from settings import Settings
    from store.ingest_log import Entry

LEASE_MS = 5000
RENEW_S = 1.0  # also how often the others look whether the lease is free
BLOCK_MS = 250
PACE_S = 1.0
BACKOFF_S = (0.05, 5.0)
PYMONGO_DETAILS = " (configured timeouts"  # which is longer than what happened
SAY_S = 10.0  # how often an outlet without messages says that it is there

log = logging.getLogger(__name__)


class OutletRunner:
    """Writes the log of one store to one outlet while `run` runs.

    The client's socket time-out has to be longer than BLOCK_MS, and it should not retry by itself
    (`connect_async(settings, retries=0)`).
    """

    def __init__(
        self, outlet: Outlet, client: Redis, settings: Settings, node_id: str, now_ms: Callable[[], int]
    ) -> None:
        self._outlet = outlet
        self._link = views_link(client, settings)
        self._log = IngestLog(client, self._link, schema.outlet_lease(outlet.name))
        self._progress = OutletProgress(client, self._link, outlet.name)
        self._naming = DeviceNaming(settings.device_topics)
        self._node_id = node_id
        self._now_ms = now_ms
        self._position: MessageId | None = None  # None: the outlet is not open
        self._say_at_s = 0.0
        self._is_failing = False
        self._has_told_of_entry = False
        self._left_out = 0  # as noted last

    async def run(self) -> None:
        """Write until cancelled, whatever the store or the outlet do. Gives up the lease at the end."""
        link = asyncio.create_task(self._link.run())
        delay_s, longest_s = BACKOFF_S
        try:
            while True:
                try:
                    await self._turn()
                    delay_s = BACKOFF_S[0]
                except Exception as error:  # noqa: BLE001  whatever one outlet meets, the others go on
                    await self._failed(error)
                    await asyncio.sleep(delay_s)
                    delay_s = min(longest_s, 2 * delay_s)
        finally:
            await self._outlet.close()
            with contextlib.suppress(redis.RedisError, TimeoutError, OSError):
                await asyncio.wait_for(self._log.release_lease(self._node_id), 1)
            link.cancel()

    async def _turn(self) -> None:
        # The client can lose a cancellation that meets the end of one of its own time-outs.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if not await self._log.take_lease(self._node_id, LEASE_MS):
            await self._close()
            await asyncio.sleep(RENEW_S)
            return
        position = self._position if self._position is not None else await self._open()
        entries = await self._log.read(position)
        if entries:
            await self._write(entries)
            if not fills_a_read(entries):
                await asyncio.sleep(PACE_S)  # a batch costs by device, so it should have many messages of each
        else:
            await self._say_now_and_then(position)
            await self._log.await_entry(position, BLOCK_MS)

    async def _open(self) -> MessageId:
        await self._while_leased(self._outlet.open())
        position = self._position = await self._progress.position()
        return position

    async def _write(self, entries: list[Entry]) -> None:
        """Write entries, and only then note where they end."""
        for messages, end in self._batches(entries):
            for start in range(0, len(messages), BATCH_MESSAGES):  # one entry can have more
                await self._while_leased(self._outlet.write(messages[start : start + BATCH_MESSAGES]))
            await self._note(end, len(messages))

    def _batches(self, entries: list[Entry]) -> Iterator[tuple[list[LoggedMessage], MessageId]]:
        """Yield messages of whole entries, BATCH_MESSAGES or those of one entry, and the id at which they end."""
        batch: list[LoggedMessage] = []
        end = START
        for log_id, frame in entries:
            messages = self._logged(log_id, frame)
            if batch and len(batch) + len(messages) > BATCH_MESSAGES:
                yield batch, end
                batch = []
            batch += messages
            end = MessageId.of(log_id, max(0, len(messages) - 1))
        yield batch, end

    def _logged(self, log_id: bytes, frame: bytes | None) -> list[LoggedMessage]:
        """Return the messages of an entry; none if it cannot be read."""
        try:
            messages = decode_entry(frame)
        except ValueError as error:
            self._tell_of_entry(log_id, error)
            return []
        return [
            (MessageId.of(log_id, index), self._naming.device_of(message.topic_name, message.client_id), message)
            for index, message in enumerate(messages)
        ]

    def _tell_of_entry(self, log_id: bytes, error: ValueError) -> None:
        if not self._has_told_of_entry:
            log.error("Log entry %s cannot be read and is left out (others are not logged): %s", log_id, error)
        self._has_told_of_entry = True

    async def _while_leased(self, call: Coroutine[None, None, None]) -> None:
        """Wait for a call of the outlet, which may take longer than a lease lasts."""
        task = asyncio.create_task(call)
        try:
            while not (await asyncio.wait((task,), timeout=RENEW_S))[0]:
                await self._log.take_lease(self._node_id, LEASE_MS)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _say_now_and_then(self, position: MessageId) -> None:
        if asyncio.get_running_loop().time() >= self._say_at_s:
            await self._note(position, 0)

    async def _note(self, position: MessageId, messages: int) -> None:
        """Note that all up to `position` is written, `messages` more than before."""
        await self._progress.wrote(position, messages, self._outlet.size, self._now_ms())
        self._position = position
        if self._outlet.left_out > self._left_out:
            await self._progress.lost(self._outlet.left_out - self._left_out)
            self._left_out = self._outlet.left_out
        self._say_at_s = asyncio.get_running_loop().time() + SAY_S
        if self._is_failing:
            log.info("Outlet %s is written to again", self._outlet.name)
        self._is_failing = False

    async def _failed(self, error: Exception) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".partition(PYMONGO_DETAILS)[0].split())
        if not self._is_failing:
            log.warning("Outlet %s is not written to: %s", self._outlet.name, reason)
        self._is_failing, self._say_at_s = True, 0.0
        await self._close()
        with contextlib.suppress(redis.RedisError, TimeoutError, OSError):
            await self._progress.failed(reason, self._outlet.size, self._now_ms())

    async def _close(self) -> None:
        # What was known of the position may be wrong next time: the store may have restarted with older data.
        self._position = None
        await self._outlet.close()
