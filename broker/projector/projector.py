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

from broker.projector.device_writer import DeviceWriter
from broker.projector.grouping import DeviceGroups, FleetTotals
from broker.projector.growth_gate import GrowthGate
from broker.projector.lag import Lag
from store import schema
from store.cluster_link import views_link
from store.ingest_log import IngestLog, decode_entry, fills_a_read
from store.log_trimming import LogTrimming
from store.memory import memories
from store.model import OTHER_DEVICES, START, DeviceNaming, Message, MessageId
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from settings import Settings
    from store.ingest_log import Entry

LEASE_MS = 5000
RENEW_S = 1.0  # also how often the others look whether the lease is free
BLOCK_MS = 250
PACE_S = 0.1
BACKOFF_S = (0.05, 2.0)
LOG_LINE_S = 60.0  # between two lines about the same bound

log = logging.getLogger(__name__)


class Projector:
    """Keeps the views of one store up to date while `run` runs.

    `projected_messages`, `undecodable_entries`: counted here, by this process. `is_exhausted` says whether shedding has
    nothing left.

    The client's socket time-out has to be longer than BLOCK_MS, and it should not retry by itself
    (`connect_async(settings, retries=0)`).
    """

    def __init__(
        self,
        client: Redis,
        settings: Settings,
        node_id: str,
        now_ms: Callable[[], int],
        is_exhausted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.projected_messages = 0
        self.undecodable_entries = 0
        self._link = views_link(client, settings)
        self._log = IngestLog(client, self._link, schema.PROJECTOR)
        self._views = Views(client, settings, self._link)
        self._trimming = LogTrimming(client, settings, self._link)
        self._lag = Lag(self._trimming, now_ms)
        self._gate = GrowthGate(
            lambda: memories(client, settings.store_bytes), is_exhausted, self._renew_lease, settings.max_devices
        )
        self._writer = DeviceWriter(self._views, self._gate, now_ms)
        self._naming = DeviceNaming(settings.device_topics)
        self._node_id = node_id
        self._now_ms = now_ms
        self._position: MessageId | None = None  # None: not known, ask the store
        self._holds_lease = False
        self._is_behind = False
        self._is_at_end = asyncio.Event()
        self._renew_at_s = 0.0
        self._logged_s: dict[str, float] = {}

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
        entries = await self._log.read(position)
        await self._measure()
        if not entries:
            return False
        self._is_behind = fills_a_read(entries)
        groups, totals = self._group(position, entries)
        self._position = None  # until all is written
        await self._admit(groups, totals)
        is_applied = await self._writer.apply(groups)
        await self._count_left_out()
        if not is_applied:
            return True
        await self._views.index_devices(groups.last_seen_ms())
        self._position = await self._views.apply_fleet(totals.write(), self._now_ms())
        if self._position is None:
            self._position = totals.last
            self.projected_messages += totals.messages
        return True

    def _group(self, after: MessageId, entries: list[Entry]) -> tuple[DeviceGroups, FleetTotals]:
        """Return what entries hold. They are gone afterwards: messages take as much again."""
        groups, totals = DeviceGroups(), FleetTotals(after)
        entries.reverse()
        while entries:
            log_id, frame = entries.pop()
            messages = self._decode(log_id, frame)
            totals.add_entry(log_id, len(frame or b""), len(messages))
            totals.add_messages(messages)
            groups.add_entry(log_id, messages, self._naming)
        return groups, totals

    async def _admit(self, groups: DeviceGroups, totals: FleetTotals) -> None:
        """Enter new devices as far as there may be more of them; messages of others become the collective device's."""
        most = await self._gate.most_devices()
        admission = await self._views.admit(groups.device_ids, most, totals.first, totals.last)
        self._gate.devices = admission.devices
        if admission.refused:
            groups.merge(admission.refused, OTHER_DEVICES)
            self._warn(
                "devices",
                f"There are {admission.devices} devices: no more of them are admitted. MAX_DEVICES or the store's memory "
                f'bounds them. Messages of others are shown under "{OTHER_DEVICES}".',
            )

    async def _count_left_out(self) -> None:
        left_out, self._writer.left_out = self._writer.left_out, 0
        if left_out:
            await self._views.count_left_out(left_out)
            self._warn(
                "left out",
                "The store is nearly full and nothing is left to shed: messages are counted, but left out of the history. "
                "Give Redis more memory.",
            )

    def _warn(self, kind: str, text: str) -> None:
        """Log a line of a kind, once a minute at most."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._logged_s.get(kind, float("-inf")) + LOG_LINE_S:
            self._logged_s[kind] = now_s
            log.warning("%s", text)

    def _decode(self, log_id: bytes, frame: bytes | None) -> list[Message]:
        try:
            return decode_entry(frame)
        except ValueError as error:
            if not self.undecodable_entries:
                log.error("Log entry %s cannot be read and is left out (others are not logged): %s", log_id, error)  # noqa: TRY400
        self.undecodable_entries += 1
        return []

    async def _measure(self) -> None:
        """Now and then, look how far who reads the log is behind, and cut off its old end: also while nothing comes."""
        if await self._lag.measure_if_due() and self._holds_lease:
            await self._trimming.trim()
