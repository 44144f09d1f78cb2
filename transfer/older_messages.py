"""Add imported messages to a device that has newer ones (async).

Whether a message counts already is known where the device's history still holds all that was ever counted, and between the
two ids of its `gap`; elsewhere it is left out. The history is written anew around the messages, in one atomic script that
refuses where the device has changed since it was read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from broker.projector.grouping import CHUNK_BYTES, CHUNK_MESSAGES, DeviceGroup
from store import schema
from store.chunks import read_chunk
from store.imported_views import Insertion
from store.model import START, MessageId, encode_frame
from store.views import ChunkWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from store.chunks import Entry, Placed
    from store.imported_views import Gap, ImportedViews
    from store.views import DeviceWrite

MAX_REWRITTEN_BYTES = 64 * 1024 * 1024  # of one history; the store does nothing else meanwhile
TRIES = 8
FIELDS = ("position", "messages", "history_count", "history_bytes", "gap", "client_id")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class ChangingError(Exception):
    """A device changes faster than it can be imported into."""


@dataclass
class Tally:
    """What became of messages. `uncounted`: it cannot be known whether views count them; MongoDB, where set, has them."""

    imported: int = 0
    present: int = 0
    uncounted: int = 0

    def add(self, other: Tally) -> None:
        """Count what another one does."""
        self.imported += other.imported
        self.present += other.present
        self.uncounted += other.uncounted


class _Device(NamedTuple):
    """A device's record as it was read; `kept` is how many messages its history holds."""

    position: MessageId
    messages: int
    kept: int
    history_bytes: int
    gap: Gap
    client_id: str

    @property
    def is_whole(self) -> bool:
        """Whether all that was ever counted is in the history."""
        return self.messages == self.kept


class _Surroundings(NamedTuple):
    """Chunks of a history around some messages, and the id at which the next one begins."""

    entries: list[Entry]
    next_id: MessageId | None

    def messages(self) -> list[Placed]:
        return [each for entry in self.entries for each in read_chunk(entry)]


class OlderMessages:
    """Inserts into the views of one store."""

    def __init__(self, client: Redis, views: ImportedViews, now_ms: Callable[[], int]) -> None:
        self._redis: Any = client
        self._views = views
        self._now_ms = now_ms

    async def positions(self, device_ids: list[str]) -> dict[str, MessageId]:
        """Return up to which message each device has been counted."""
        pipeline = self._redis.pipeline(transaction=False)
        for device_id in device_ids:
            pipeline.hget(schema.device(device_id, "record"), "position")
        return {each: _id(text) for each, text in zip(device_ids, await pipeline.execute(), strict=True)}

    async def insert(self, device_id: str, messages: list[Placed]) -> Tally:
        """Add messages, ordered and none newer than the device's last one. Raises ChangingError."""
        for _ in range(TRIES):
            device = await self._read(device_id)
            around = await self._around(device_id, messages)
            kept = {message_id for message_id, _ in around.messages()}
            missing = [each for each in messages if each[0] not in kept]
            fresh = (
                missing if device.is_whole else [each for each in missing if device.gap[0] < each[0] < device.gap[1]]
            )
            if device.history_bytes > MAX_REWRITTEN_BYTES:
                fresh = []
            tally = Tally(len(fresh), len(messages) - len(missing), len(missing) - len(fresh))
            if not fresh or await self._insert(device_id, device, fresh, around):
                return tally
        raise ChangingError(f"{device_id} keeps changing. Run the import again.")

    async def restore(self, device_id: str, messages: list[Placed]) -> None:
        """Put messages back into the history that count already. Raises ChangingError."""
        for _ in range(TRIES):
            device = await self._read(device_id)
            around = await self._around(device_id, messages)
            insertion = replace(_insertion(device, messages, messages, around), gap=device.gap)
            write = replace(
                await self._write(device_id, device, messages), messages=0, payload_bytes=0, fields=[], topics=[]
            )
            if await self._views.insert(write, insertion, self._now_ms()):
                return
        raise ChangingError(f"{device_id} keeps changing. Run it again.")

    async def _insert(self, device_id: str, device: _Device, fresh: list[Placed], around: _Surroundings) -> bool:
        oldest: Any = await self._redis.xrange(schema.device(device_id, "history"), "-", "+", 1)
        kept_from = MessageId(1 << 60, 0)
        if device.is_whole:
            kept_from = START
        elif oldest:
            kept_from = _id(oldest[0][0])
        added = [each for each in fresh if each[0] >= kept_from]
        write = await self._write(device_id, device, fresh)
        return await self._views.insert(write, _insertion(device, fresh, added, around), self._now_ms())

    async def _read(self, device_id: str) -> _Device:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(schema.device(device_id, "record"), FIELDS)
        pipeline.exists(schema.device(device_id, "history"))
        (position, messages, count, size, gap, client_id), has_history = await pipeline.execute()
        first, _, last = (gap or b"0-0 0-0").partition(b" ")
        return _Device(
            position=_id(position),
            messages=int(messages or 0),
            kept=int(count or 0) if has_history else 0,
            history_bytes=int(size or 0) if has_history else 0,
            gap=(_id(first), _id(last)),
            client_id=(client_id or b"").decode(),
        )

    async def _around(self, device_id: str, messages: list[Placed]) -> _Surroundings:
        """Return the chunks of the history that hold what lies between these messages, and the one before."""
        key = schema.device(device_id, "history")
        before: Any = await self._redis.xrevrange(key, str(messages[0][0]), "-", 1)
        last = str(messages[-1][0])
        entries: list[Entry] = await self._redis.xrange(key, before[0][0] if before else "-", last)
        following: Any = await self._redis.xrange(key, f"({last}", "+", 1)
        return _Surroundings(entries, _id(following[0][0]) if following else None)

    async def _write(self, device_id: str, device: _Device, fresh: list[Placed]) -> DeviceWrite:
        """Return what messages change besides the history. Last values that are newer stay."""
        group = DeviceGroup(device_id)
        for each in fresh:
            group.add(*each)
        write = group.write()
        pipeline = self._redis.pipeline(transaction=False)
        paths, names = [each.path for each in write.fields] or [""], [name for name, _ in write.topics] or [""]
        pipeline.hmget(schema.device(device_id, "values"), paths)
        pipeline.hmget(schema.device(device_id, "topics"), names)
        values, topics = await pipeline.execute()
        return replace(
            write,
            last=device.position,
            client_id=device.client_id,
            fields=[
                each._replace(value=_newer(each.value, stored, 1))
                for each, stored in zip(write.fields, values, strict=False)
            ],
            topics=[
                (name, _newer(state, stored, 0)) for (name, state), stored in zip(write.topics, topics, strict=False)
            ],
            chunks=[],
        )


def _insertion(device: _Device, fresh: list[Placed], added: list[Placed], around: _Surroundings) -> Insertion:
    between, last = around.messages(), fresh[-1][0]
    counted = [message_id for message_id, _ in between if message_id > last]
    following = device.gap[1] if not device.is_whole else min(counted, default=around.next_id or last)
    chunks = list(_chunks(sorted(between + added, key=lambda each: each[0]))) if added else []
    gone = around.entries if added else []
    return Insertion(
        read_messages=device.messages,
        gap=(last, following),
        gone=[entry_id.decode() for entry_id, _ in gone],
        chunks=chunks,
        more_count=len(added),
        more_bytes=sum(len(each.frame) + len(each.ids) for each in chunks)
        - sum(len(fields[b"f"]) + len(fields[b"i"]) for _, fields in gone),
    )


def _chunks(messages: list[Placed]) -> Iterator[ChunkWrite]:
    """Yield messages as parts of a history."""
    some: list[Placed] = []
    size = 0
    for each in messages:
        some.append(each)
        size += len(each[1].payload) + len(each[1].properties) + len(each[1].topic_name) + len(each[1].client_id)
        if size >= CHUNK_BYTES or len(some) == CHUNK_MESSAGES:
            yield _chunk(some)
            some, size = [], 0
    if some:
        yield _chunk(some)


def _chunk(some: list[Placed]) -> ChunkWrite:
    ids, messages = zip(*some, strict=True)
    return ChunkWrite(str(ids[0]), encode_frame(messages), _encode(ids), len(some))


def _newer(mine: bytes, stored: bytes | None, ts_at: int) -> bytes:
    """Return which of two msgpack lists has the later time; the stored one where they are equal."""
    return mine if stored is None or _decode(mine)[ts_at] > _decode(stored)[ts_at] else stored


def _id(text: bytes | None) -> MessageId:
    return START if text is None else MessageId.parse(text.decode())
