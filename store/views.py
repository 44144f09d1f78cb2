"""Write the views: what the projector makes of the ingest log (async; `query` reads them).

Every write is one atomic script that compares a stored position first, so a repeated write, or that of a second
projector, changes nothing. No view is written here without one, but for the two indices of devices, which only grow.
The client given should not retry by itself: a write that a restarted store has forgotten must not be sent again
without reading the position first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from store import schema
from store.memory import MOST_STATE_BYTES
from store.model import START, MessageId
from store.rollups import RollupPlaces, ages_s, buckets_of
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink
    from store.rollups import Aggregate, Aggregates, Bucket
    from store.scripting import Script

LOG_ENTRY_BYTES = 32  # what an entry takes besides its frame, about
INDEX_MEMBERS = 256
RATE_KEPT_S = 2 * 3600

_encode = msgspec.msgpack.Encoder().encode


class FieldWrite(NamedTuple):
    """One JSON field: msgpack [last value, ts_ms], and its new numbers."""

    path: str
    value: bytes
    minutes: Aggregates


class ChunkWrite(NamedTuple):
    """Some messages of the history: id of the first, their frame, msgpack list of their [ms, seq] ids, count."""

    id: str
    frame: bytes
    ids: bytes
    messages: int


@dataclass(frozen=True, slots=True)
class DeviceWrite:
    """What one group of messages, in the order of the log, changes at one device.

    `after`: the device's last message that was grouped before these in the same batch, else START.
    `topics`: topic name and msgpack as in `schema` of the last message of each topic.
    """

    device_id: str
    after: MessageId
    first: MessageId
    last: MessageId
    first_ms: int
    last_ms: int
    messages: int
    payload_bytes: int
    client_id: str
    fields: list[FieldWrite]
    topics: list[tuple[str, bytes]]
    chunks: list[ChunkWrite]


@dataclass(frozen=True, slots=True)
class FleetWrite:
    """What a batch, read from the log after `after`, adds to the totals. `slots`: messages by start of slot (s)."""

    after: MessageId
    first: MessageId
    last: MessageId
    messages: int
    payload_bytes: int
    entries: int
    log_bytes: int
    slots: dict[int, int]


class Growth(NamedTuple):
    """Whether views may take more memory; most bytes of last values and topics of one device."""

    is_allowed: bool
    state_bytes: int


class Admission(NamedTuple):
    """How many devices there are, and which of those asked for are beyond their bound."""

    devices: int
    refused: frozenset[str]


UNBOUNDED = Growth(True, MOST_STATE_BYTES)


class Views:
    """The views of one store. Every method raises redis.RedisError or OSError when the store does not do it."""

    def __init__(self, client: Redis, settings: Settings, link: StoreLink | ClusterLink) -> None:
        self._run = ScriptRunner(client, link).run
        self._redis: Any = client  # redis-py types a command for both of its kinds of client at once
        self._settings = settings
        self._device = load_script("position", "device")
        self._fleet = load_script("position", "fleet")
        self._index = load_script("index")
        self._admit = load_script("position", "admit")
        self._note = load_script("note")

    async def position(self) -> MessageId:
        """Return up to which message the log is projected; START if nothing is."""
        return _id(await self._redis.hget(schema.FLEET, "position"))

    async def admit(self, device_ids: Iterable[str], most: int, first: MessageId, last: MessageId) -> Admission:
        """Enter devices into the index by name before anything is written for them; `most` bounds their number.

        `first`: the first message of the batch that was read; `last`: the last of the messages that these devices are of.
        """
        names, keys = list(device_ids), [schema.DEVICES_NAMES, schema.DEVICES_ADMISSION]
        bounds, devices, refused = (most, str(first), str(last)), 0, set()
        for start in range(0, len(names), INDEX_MEMBERS):
            some = names[start : start + INDEX_MEMBERS]
            ((devices, *admitted),) = await self._run([(self._admit, keys, [*bounds, *some])])
            refused |= {name for name, is_admitted in zip(some, admitted, strict=True) if not is_admitted}
        return Admission(devices, frozenset(refused))

    async def apply_devices(
        self, writes: Sequence[DeviceWrite], now_ms: int, growth: Growth = UNBOUNDED
    ) -> list[MessageId | None]:
        """Apply each write, whole or not at all, in one round trip.

        Returns None for each one applied. Else it has messages that are applied already, or `after` is not applied
        yet: the device's position is returned; leave out the messages up to it and apply the rest.
        """
        return await self.run_on_devices(self._device, [(write, ()) for write in writes], now_ms, growth)

    async def run_on_devices(
        self,
        script: Script,
        writes: Sequence[tuple[DeviceWrite, Sequence[Any]]],
        now_ms: int,
        growth: Growth = UNBOUNDED,
    ) -> list[MessageId | None]:
        """Do the same with a script that does more than device.lua, and for each write takes more arguments at the end."""
        settings = self._settings
        limits = [
            settings.history_messages,
            settings.history_bytes,
            now_ms - settings.history_age_s * 1000,
            settings.history_age_s,
            schema.MAX_FIELDS,
            schema.MAX_TOPICS,
            growth.state_bytes,
            int(growth.is_allowed),
        ]
        ages = ages_s(settings)
        calls = [
            (*_device_call(write, limits, RollupPlaces(write.device_id, ages, now_ms)), more) for write, more in writes
        ]
        answers = await self._run([(script, keys, [*arguments, *more]) for keys, arguments, more in calls])
        return [None if answer is None else _id(answer) for answer in answers]

    async def index_devices(self, last_seen_ms: dict[str, int]) -> None:
        """Enter devices into the indices by last message and by name."""
        entries = list(last_seen_ms.items())
        keys = [schema.DEVICES_SEEN, schema.DEVICES_NAMES]
        for start in range(0, len(entries), INDEX_MEMBERS):
            some = entries[start : start + INDEX_MEMBERS]
            await self._run([(self._index, keys, [each for name, ms in some for each in (ms, name)])])

    async def count_left_out(self, messages: int) -> None:
        """Count messages that are in no history because the store was full."""
        await self._run([(self._note, [schema.RETENTION], [1, "left_out", messages])])

    async def apply_fleet(self, write: FleetWrite, now_ms: int) -> MessageId | None:
        """Add a batch to the totals and move the position of the log past it; the last write of a batch.

        Returns None when applied; else the position, from which the log has to be read again.
        """
        blob = _encode(
            (str(write.after), str(write.first), str(write.last), write.messages, write.payload_bytes, write.entries,
             write.log_bytes, list(write.slots.items()))
        )  # fmt: skip
        limits = [self._settings.log_keep_bytes, now_ms // 1000 - RATE_KEPT_S]
        (answer,) = await self._run([(self._fleet, [schema.FLEET, schema.FLEET_RATE], [blob, *limits])])
        return None if answer is None else _id(answer)


def _device_call(write: DeviceWrite, limits: list[int], places: RollupPlaces) -> tuple[list[str], list[Any]]:
    keys = [schema.device(write.device_id, part) for part in ("record", "values", "topics", "history")]
    fields = [
        (path, _string(value), [_rollup(path, each, places, keys) for each in buckets_of(minutes)])
        for path, value, minutes in write.fields
    ]
    topics = [(name, _string(state)) for name, state in write.topics]
    chunks = [(chunk.id, _string(chunk.frame), _string(chunk.ids), chunk.messages) for chunk in write.chunks]
    blob = _encode(
        (str(write.after), str(write.first), str(write.last), write.first_ms, write.last_ms, write.messages,
         write.payload_bytes, write.client_id, fields, topics, chunks)
    )  # fmt: skip
    return keys, [blob, *limits]


def _rollup(path: str, rollup: tuple[Aggregate, list[Bucket]], places: RollupPlaces, keys: list[str]) -> list[float]:
    """Return an aggregate, then number of the key, entry and seconds to keep it for each bucket; `keys` grows."""
    aggregate, buckets = rollup
    flat: list[float] = [*aggregate]
    for bucket in buckets:
        place = places.of(bucket)
        if place is not None:
            prefix, entry, keep_s = place
            keys.append(prefix + path)
            flat += (len(keys), entry, keep_s)
    return flat


def _string(binary: bytes) -> msgspec.Raw:
    """Mark bytes as a msgpack string (str 32): the store's cmsgpack does not read binary, and checks no encoding."""
    return msgspec.Raw(b"\xdb" + len(binary).to_bytes(4, "big") + binary)


def _id(text: bytes | None) -> MessageId:
    return START if text is None else MessageId.parse(text.decode())
