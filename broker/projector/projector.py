"""Project the ingest log: read it in batches, write the views, trim what every view shows.

One node projects at a time, by a lease; the others only watch how far behind the views are. Nothing relies on the
lease: each write carries the ids it covers and the store refuses what it has (docs/decisions/0002).
It has a process of its own beside each broker process (docs/decisions/0003): it may hold its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import redis

from broker.projector.grouping import DeviceGroup, DeviceGroups, FleetTotals
from broker.projector.lag import Lag
from store import schema
from store.cluster_link import views_link
from store.ingest_log import READ_BYTES, IngestLog, decode_entry, fills_a_read
from store.log_trimming import LogTrimming
from store.model import START, DeviceNaming, Message, MessageId
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from settings import Settings
    from store.views import DeviceWrite

LEASE_MS = 5000
RENEW_S = 1.0  # also how often the others look whether the lease is free
BLOCK_MS = 250
PACE_S = 0.1
BACKOFF_S = (0.05, 2.0)
TRIP_DEVICES = 256
TRIP_MESSAGES = 4096
# Read at once while behind: a device's write hardly costs more for four messages than for one.
CATCH_UP_BYTES = 4 * READ_BYTES
PREPARE_STEP = 16  # groups prepared in one turn of the event loop: a millisecond

log = logging.getLogger(__name__)


class Projector:
    """Keeps the views of one store up to date while `run` runs.

    `projected_messages`, `undecodable_entries`: counted here, by this process.

    The client's socket time-out has to be longer than BLOCK_MS, and it should not retry by itself
    (`connect_async(settings, retries=0)`).
    """

    def __init__(self, client: Redis, settings: Settings, node_id: str, now_ms: Callable[[], int]) -> None:
        self.projected_messages = 0
        self.undecodable_entries = 0
        self._link = views_link(client, settings)
        self._log = IngestLog(client, self._link, schema.PROJECTOR)
        self._views = Views(client, settings, self._link)
        self._trimming = LogTrimming(client, settings, self._link)
        self._lag = Lag(self._trimming, now_ms)
        self._naming = DeviceNaming(settings.device_topics)
        self._node_id = node_id
        self._now_ms = now_ms
        self._position: MessageId | None = None  # None: not known, ask the store
        self._holds_lease = False
        self._is_behind = False
        self._is_at_end = asyncio.Event()
        self._renew_at_s = 0.0

    @property
    def lag_ms(self) -> int:
        """Age of the oldest message that the views do not show, as last seen."""
        return self._lag.ms

    @property
    def lag_bytes(self) -> int:
        """How much of the log waits for views, or for outlets that hold it, about, as last seen."""
        return self._lag.bytes

    async def catch_up(self) -> None:
        """Return once everything that is in the log now is projected, while `run` runs; at once without the lease."""
        self._is_at_end = asyncio.Event()  # not that of a turn under way, which may have read the log already
        await self._is_at_end.wait()

    async def run(self) -> None:
        """Project until cancelled; the store may be away as long as it likes. Gives up the lease at the end."""
        link = asyncio.create_task(self._link.run())
        try:
            while True:
                await self._run_until_outage()
                await self._await_store()
        finally:
            with contextlib.suppress(redis.RedisError, TimeoutError, OSError):
                await asyncio.wait_for(self._log.release_lease(self._node_id), 1)
            link.cancel()

    async def _run_until_outage(self) -> None:
        try:
            while True:
                await self._turn()
        except (redis.RedisError, OSError) as error:
            log.warning("Views are not kept up to date: the store does not answer as it should: %s", error)

    async def _await_store(self) -> None:
        delay_s, longest_s = BACKOFF_S
        while True:
            # What was known of the store may be wrong now: it may have restarted with older data.
            self._position, self._renew_at_s, self._holds_lease = None, 0.0, False
            await asyncio.sleep(delay_s)
            with contextlib.suppress(redis.RedisError, OSError):
                await self._turn()
                log.info("Views are kept up to date again")
                return
            delay_s = min(longest_s, 2 * delay_s)

    async def _turn(self) -> None:
        # The client can lose a cancellation that meets the end of one of its own time-outs.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        is_at_end = self._is_at_end
        await self._renew_lease()
        if not self._holds_lease:
            is_at_end.set()
            await self._measure()
            await asyncio.sleep(RENEW_S)
        elif not await self._project_batch():
            is_at_end.set()
            await self._log.await_entry(self._position or START, BLOCK_MS)
        elif not self._is_behind:
            await asyncio.sleep(
                PACE_S
            )  # what comes meanwhile shares the next batch: a batch costs as much as 100 messages

    async def _renew_lease(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._renew_at_s:
            was_held, self._holds_lease = self._holds_lease, await self._log.take_lease(self._node_id, LEASE_MS)
            self._renew_at_s = now_s + RENEW_S if self._holds_lease else 0.0
            if not was_held:
                self._position = None

    async def _project_batch(self) -> bool:
        """Project what the log holds next; False if it holds nothing."""
        position = self._position
        if position is None:
            position = self._position = await self._views.position()
        entries = await self._log.read(position, CATCH_UP_BYTES if self._is_behind else READ_BYTES)
        await self._measure()
        if not entries:
            return False
        self._is_behind = fills_a_read(entries)
        groups, totals = self._group(position, entries)
        self._position = None  # until all is written
        if not await self._apply_groups(groups.all):
            return True
        await self._views.index_devices(groups.last_seen_ms())
        self._position = await self._views.apply_fleet(totals.write(), self._now_ms())
        if self._position is None:
            self._position = totals.last
            self.projected_messages += totals.messages
        return True

    def _group(self, after: MessageId, entries: list[tuple[bytes, bytes | None]]) -> tuple[DeviceGroups, FleetTotals]:
        groups, totals = DeviceGroups(self._naming), FleetTotals(after)
        for log_id, frame in entries:
            messages = self._decode(log_id, frame)
            totals.add_entry(log_id, len(frame or b""), len(messages))
            groups.add(log_id, messages)
            totals.add_messages(messages)
        return groups, totals

    def _decode(self, log_id: bytes, frame: bytes | None) -> list[Message]:
        try:
            return decode_entry(frame)
        except ValueError as error:
            if not self.undecodable_entries:
                log.error("Log entry %s cannot be read and is left out (others are not logged): %s", log_id, error)  # noqa: TRY400
        self.undecodable_entries += 1
        return []

    async def _apply_groups(self, groups: list[DeviceGroup]) -> bool:
        """Apply every group. Another projector may have been faster with some of their messages: leave those out.

        Returns False if that cannot be done: the store has lost what it had when the log was read.
        """
        while groups:
            refused = await self._apply_once(groups)
            if sum(map(len, refused)) == sum(map(len, groups)):
                return False
            groups = refused
        return True

    async def _apply_once(self, groups: list[DeviceGroup]) -> list[DeviceGroup]:
        """Apply every group, a trip being prepared while the store does the one before; return what was refused."""
        refused: list[DeviceGroup] = []
        under_way: asyncio.Task[list[DeviceGroup]] | None = None
        try:
            for some in _trips(groups):
                writes = await _prepared(some)
                if under_way is not None:
                    refused += await under_way
                under_way = asyncio.create_task(self._apply_trip(some, writes))
            if under_way is not None:
                refused += await under_way
        finally:
            if under_way is not None and not under_way.done():
                under_way.cancel()
        return refused

    async def _apply_trip(self, groups: list[DeviceGroup], writes: list[DeviceWrite]) -> list[DeviceGroup]:
        positions = await self._views.apply_devices(writes, self._now_ms())
        rests = [
            group.after(position) for group, position in zip(groups, positions, strict=True) if position is not None
        ]
        return [rest for rest in rests if rest is not None]

    async def _measure(self) -> None:
        """Now and then, look how far who reads the log is behind, and cut off its old end: also while nothing comes."""
        if await self._lag.measure_if_due() and self._holds_lease:
            await self._trimming.trim()


async def _prepared(groups: list[DeviceGroup]) -> list[DeviceWrite]:
    """Return the groups' writes, and let the event loop send and receive meanwhile."""
    writes = []
    for number, group in enumerate(groups):
        writes.append(group.write())
        if number % PREPARE_STEP == 0:
            await asyncio.sleep(0)
    return writes


def _trips(groups: list[DeviceGroup]) -> Iterator[list[DeviceGroup]]:
    """Cut groups, in order, into round trips that are cheap enough to prepare at once."""
    trip: list[DeviceGroup] = []
    messages = 0
    for group in groups:
        if len(trip) == TRIP_DEVICES or messages > TRIP_MESSAGES:
            yield trip
            trip, messages = [], 0
        trip.append(group)
        messages += len(group)
    if trip:
        yield trip
