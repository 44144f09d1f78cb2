"""Write the views of messages that were imported, not published here (async).

Every write is one atomic script that changes nothing when it is repeated. The fleet's totals lie elsewhere in a cluster: each
device counts its imported messages, and the totals are brought up to that afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store import schema
from store.model import MessageId
from store.scripting import ScriptRunner, load_script
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink
    from store.views import ChunkWrite, DeviceWrite

NO_BOUND = 1 << 50  # of messages, bytes, seconds: a double holds it exactly
COUNT_STEP = 256

Gap = tuple[MessageId, MessageId]
"""Two ids between which no message of a device has been counted."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """How a device changes besides its views when older messages come in.

    `read_messages`: the device's count, as it was read. `gone`, `chunks`: parts of the history that are replaced.
    """

    read_messages: int
    gap: Gap
    gone: list[str]
    chunks: list[ChunkWrite]
    more_count: int
    more_bytes: int


class ImportedViews:
    """The views of one store. Every method raises redis.RedisError or OSError when the store does not do it."""

    def __init__(self, client: Redis, settings: Settings, link: StoreLink | ClusterLink) -> None:
        self._redis: Any = client
        self._run = ScriptRunner(client, link).run
        self._history_age_s = settings.history_age_s
        if not settings.mongo_url:  # nothing else would have what is cut off
            bounds = ("history_messages", "history_bytes", "history_age_s")
            settings = settings.replace(**dict.fromkeys(bounds, NO_BOUND))
        self._views = Views(client, settings, link)
        self._newer = load_script("position", "imported", "device")
        self._older = load_script("position", "older", "device")
        self._totals = load_script("fleet_imports")

    async def append(self, writes: Sequence[DeviceWrite], ceiling: MessageId, now_ms: int) -> list[MessageId | None]:
        """Apply writes of messages newer than all their devices have, as `Views.apply_devices` does."""
        return await self._views.run_on_devices(
            self._newer,
            [
                (
                    each,
                    [str(each.after), str(each.first), str(each.last), each.messages, each.payload_bytes, str(ceiling)],
                )
                for each in writes
            ],
            now_ms,
        )

    async def insert(self, write: DeviceWrite, insertion: Insertion, now_ms: int) -> bool:
        """Apply messages older than the device's last one; False, and nothing is done, where it is not as it was read.

        `write.last` has to be the device's position, and `write.chunks` empty.
        """
        more: list[Any] = [
            write.messages,
            write.payload_bytes,
            insertion.read_messages,
            f"{insertion.gap[0]} {insertion.gap[1]}",
            insertion.more_count,
            insertion.more_bytes,
            len(insertion.gone),
            *insertion.gone,
        ]
        for chunk in insertion.chunks:
            more += chunk
        (refused,) = await self._views.run_on_devices(self._older, [(write, [*more, len(more)])], now_ms)
        return refused is None

    async def index(self, last_seen_ms: dict[str, int]) -> None:
        """Enter devices into the indices by last message and by name."""
        await self._views.index_devices(last_seen_ms)

    async def count(self, device_ids: Iterable[str]) -> None:
        """Bring the totals up to what these devices count, and let their histories expire as all do."""
        ids = list(device_ids)
        for start in range(0, len(ids), COUNT_STEP):
            some = ids[start : start + COUNT_STEP]
            pipeline = self._redis.pipeline(transaction=False)
            for device_id in some:
                pipeline.hmget(schema.device(device_id, "record"), ["imported_messages", "imported_bytes"])
                pipeline.expire(schema.device(device_id, "history"), self._history_age_s)
            imported = (await pipeline.execute())[::2]
            counts: list[Any] = []
            for device_id, (messages, payload_bytes) in zip(some, imported, strict=True):
                if messages is not None:
                    counts += (device_id, messages, payload_bytes)
            await self._run([(self._totals, [schema.FLEET, schema.FLEET_IMPORTED], counts)])
