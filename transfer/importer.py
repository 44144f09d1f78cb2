"""Write imported messages into both stores, so that all there is to see is as if they had been published here (async).

MongoDB comes first, then each device's views, the indices and the fleet's totals. Every step can be repeated without harm:
an import that was killed is mended by running it again. Which messages count already, the store itself tells: those a
device's history holds; and where nothing was ever cut off that history, or between the two ids of its `gap`, no others.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from broker.projector.grouping import DeviceGroup
from store.model import START
from transfer.older_messages import ChangingError, OlderMessages, Tally
from transfer.room import check_room

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from settings import Settings
    from store.chunks import Placed
    from store.export.ndjson import Found
    from store.imported_views import ImportedViews
    from store.model import MessageId
    from transfer.long_import import LongImport

APPLY_TRIES = 8


class Importer:
    """Imports into the stores of one installation. Raises redis.RedisError, PyMongoError or OSError where they do not answer."""

    def __init__(
        self,
        client: Redis,
        settings: Settings,
        views: ImportedViews,
        long_history: LongImport | None,
        now_ms: Callable[[], int],
    ) -> None:
        self.tally = Tally()
        self._redis = client
        self._store_bytes: int = settings.store_bytes
        self._views = views
        self._older = OlderMessages(client, views, now_ms)
        self._long_history = long_history
        self._now_ms = now_ms
        self._last_seen_ms: dict[str, int] = {}

    async def write(self, messages: Sequence[Found], ceiling: MessageId) -> None:
        """Write some messages, all of them older than `ceiling`: from there on the log may hold what no view shows yet.

        Raises ChangingError, FullError.
        """
        await check_room(self._redis, self._store_bytes)
        if self._long_history is not None:
            await self._long_history.write(messages)
        await self.write_views(messages, ceiling)

    async def write_views(self, messages: Sequence[Found], ceiling: MessageId = START) -> None:
        """Do the same in Redis only."""
        pending = _by_device(messages)
        self.tally.present += len(messages) - sum(map(len, pending.values()))
        for _ in range(APPLY_TRIES):
            if not pending:
                break
            positions = await self._older.positions(list(pending))
            newer: dict[str, list[Placed]] = {}
            for device_id, some in pending.items():
                at = _first_after(some, positions[device_id])
                if at:
                    self.tally.add(await self._older.insert(device_id, some[:at]))
                if at < len(some):
                    newer[device_id] = some[at:]
            pending = await self._append(newer, ceiling)
        if pending:
            raise ChangingError(f"{next(iter(pending))} keeps changing. Run the import again.")
        for device_id, _, message in messages:
            self._last_seen_ms[device_id] = max(message.received_ms, self._last_seen_ms.get(device_id, 0))

    async def settle(self) -> None:
        """Enter what was written since the last time into the indices and the fleet's totals."""
        seen, self._last_seen_ms = self._last_seen_ms, {}
        await self._views.index(seen)
        await self._views.count(seen)

    async def _append(self, devices: dict[str, list[Placed]], ceiling: MessageId) -> dict[str, list[Placed]]:
        """Write what is newer than all that devices have; return what has to be looked at again."""
        groups = [group for device_id, some in devices.items() for group in _groups(device_id, some)]
        if not groups:
            return {}
        writes = [group.write() for group, _ in groups]
        positions = await self._views.append(writes, ceiling, self._now_ms())
        again: dict[str, list[Placed]] = {}
        for (group, some), position in zip(groups, positions, strict=True):
            if position is None:
                self.tally.imported += len(some)
            else:
                again.setdefault(group.device_id, []).extend(some)
        return again


def _by_device(messages: Sequence[Found]) -> dict[str, list[Placed]]:
    """Return each device's messages in the order of their ids, each id once."""
    devices: dict[str, dict[MessageId, Placed]] = {}
    for device_id, message_id, message in messages:
        devices.setdefault(device_id, {})[message_id] = (message_id, message)
    return {device_id: [placed[each] for each in sorted(placed)] for device_id, placed in devices.items()}


def _groups(device_id: str, messages: list[Placed]) -> list[tuple[DeviceGroup, list[Placed]]]:
    """Group a device's messages as the projector does: each group is cheap enough for one run of a script."""
    groups: list[tuple[DeviceGroup, list[Placed]]] = []
    for each in messages:
        if not groups or groups[-1][0].is_full:
            groups.append((DeviceGroup(device_id, groups[-1][0].last if groups else START), []))
        groups[-1][0].add(*each)
        groups[-1][1].append(each)
    return groups


def _first_after(messages: list[Placed], position: MessageId) -> int:
    """Return where in ordered messages those after a position begin."""
    return bisect_right(messages, position, key=lambda each: each[0])
