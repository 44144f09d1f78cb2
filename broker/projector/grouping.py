"""Turn a stretch of the log into writes of views: messages grouped by device, fields and minutes aggregated. Pure.

Hot path: `DeviceGroup.add` runs for every message the broker stores. Numbers of a field are collected in a list and
aggregated a minute at a time, where `min`, `max` and `sum` run over it in C: `bench/projector.py` gives the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from store.json_fields import fields_of, is_charted, storable
from store.model import OTHER_DEVICES, START, Message, MessageId, encode_frame
from store.rollups import Aggregates, merge_into
from store.schema import MINUTE_MS, RATE_SLOT_S
from store.views import LOG_ENTRY_BYTES, ChunkWrite, DeviceWrite, FieldWrite, FleetWrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.json_fields import Scalar
    from store.model import DeviceNaming

    Position = tuple[int, int]
    """A MessageId as the plain tuple that it equals: a tenth of the cost to make."""
    Item = tuple[Position, Message]

CHUNK_MESSAGES = 128
CHUNK_BYTES = 32 * 1024
GROUP_MESSAGES = 2048  # these keep one run of a device's script to a few milliseconds
GROUP_BYTES = 512 * 1024
GROUP_NAMES = 128  # fields, or topics: a client chooses them
GROUP_AGGREGATES = 1024  # of a field and a minute
DEVICE_GROWTH_BYTES = 5 * 1024  # what a write may add to the store for a device itself: the newest piece of a history
FIELD_GROWTH_BYTES = 600  # and for a field, besides its names: a value, and rollups of three units
HEAD_BYTES = 256
MAX_TOPIC_LENGTH = 1024  # of a topic in a device's list of topics
SLOT_MS = RATE_SLOT_S * 1000

_encode = msgspec.msgpack.Encoder().encode


class _FieldGroup:
    """One field: its last value and the numbers of the minute under way."""

    __slots__ = ("minutes", "numbers", "ts_ms", "value")

    def __init__(self) -> None:
        self.value: Scalar = None
        self.ts_ms = 0
        self.numbers: list[float] = []
        self.minutes: Aggregates = {}

    def close_minute(self, minute: int) -> None:
        """Aggregate the numbers collected since the last call: they belong to `minute` (since the epoch)."""
        numbers = self.numbers
        if not numbers:
            return
        merge_into(self.minutes, minute, (float(min(numbers)), float(max(numbers)), float(sum(numbers)), len(numbers)))
        numbers.clear()

    def write(self, path: str) -> FieldWrite:
        return FieldWrite(path, _encode((storable(self.value), self.ts_ms)), self.minutes)


class DeviceGroup:
    """Consecutive messages of one device, up to a bound (`is_full`); `after` is the one grouped before them.

    `growth_bytes`: what its write may add to the store, about. The collective device has no last values and no topics.
    """

    def __init__(self, device_id: str, after: Position = START) -> None:
        self.device_id = device_id
        self.is_full = False
        self.growth_bytes = DEVICE_GROWTH_BYTES
        self._after = after
        self._has_state = device_id != OTHER_DEVICES
        self._last_seen_ms = 0
        self._messages: list[Item] = []
        self._payload_bytes = 0
        self._fields: dict[str, _FieldGroup] = {}
        self._topics: dict[str, Message] = {}
        self._minute = 0
        self._aggregates = 0
        self._chunks: list[ChunkWrite] = []
        self._chunk_start = 0
        self._chunk_bytes = 0

    @property
    def last(self) -> Position:
        """Where the group ends in the log."""
        return self._messages[-1][0]

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, position: Position, message: Message) -> None:
        """Take in the next message of the device."""
        payload, received_ms = message.payload, message.received_ms
        self._messages.append((position, message))
        self._payload_bytes += len(payload)
        self._last_seen_ms = max(received_ms, self._last_seen_ms)
        if received_ms // MINUTE_MS != self._minute:
            self._close_minute()
            self._minute = received_ms // MINUTE_MS
        if self._has_state:
            self._topics[message.topic_name] = message
            self._add_fields(payload, received_ms)
        size_bytes = len(payload) + len(message.properties) + len(message.topic_name) + len(message.client_id)
        self._chunk_bytes += size_bytes
        self.growth_bytes += size_bytes
        if self._chunk_bytes >= CHUNK_BYTES or len(self._messages) - self._chunk_start >= CHUNK_MESSAGES:
            self._close_chunk()
        self.is_full = (
            len(self._messages) >= GROUP_MESSAGES
            or len(self._fields) > GROUP_NAMES
            or len(self._topics) > GROUP_NAMES
            or self._aggregates > GROUP_AGGREGATES
            or self.growth_bytes > GROUP_BYTES
        )

    def items_after(self, position: MessageId) -> list[Item]:
        """Return the messages after `position`, for other groups."""
        return [item for item in self._messages if item[0] > position]

    def write(self) -> DeviceWrite:
        """Return what the group changes at its device. Nothing can be added afterwards."""
        self._close_minute()
        self._close_chunk()
        return DeviceWrite(
            device_id=self.device_id,
            after=MessageId(*self._after),
            first=MessageId(*self._messages[0][0]),
            last=MessageId(*self.last),
            first_ms=self._messages[0][1].received_ms,
            last_ms=self._last_seen_ms,
            messages=len(self._messages),
            payload_bytes=self._payload_bytes,
            client_id=self._messages[-1][1].client_id,
            fields=[field.write(path) for path, field in self._fields.items()],
            topics=[(name, _topic_state(last)) for name, last in self._topics.items() if len(name) <= MAX_TOPIC_LENGTH],
            chunks=self._chunks,
        )

    def _add_fields(self, payload: bytes, received_ms: int) -> None:
        fields = self._fields
        for path, value in fields_of(payload):
            field = fields.get(path)
            if field is None:
                field = fields[path] = _FieldGroup()
                self.growth_bytes += FIELD_GROWTH_BYTES + 4 * len(path) + 3 * len(self.device_id)
            field.value = value
            field.ts_ms = received_ms
            if value.__class__ is not str and is_charted(value):
                field.numbers.append(value)  # type: ignore[arg-type]

    def _close_minute(self) -> None:
        for field in self._fields.values():
            field.close_minute(self._minute)
        self._aggregates += len(self._fields)

    def _close_chunk(self) -> None:
        some = self._messages[self._chunk_start :]
        if not some:
            return
        positions, messages = zip(*some, strict=True)
        first = MessageId(*positions[0])
        self._chunks.append(ChunkWrite(str(first), encode_frame(messages), _encode(positions), len(some)))
        self._chunk_start, self._chunk_bytes = len(self._messages), 0


class DeviceGroups:
    """Messages by device, in the order of the log. Groups are made one after the other as they are asked for: they take
    many times what their messages do.
    """

    def __init__(self) -> None:
        self._items: dict[str, list[Item]] = {}

    def add(self, device_id: str, items: Iterable[Item]) -> None:
        """Take in the next messages of a device."""
        some = list(items)
        if some:
            self._items.setdefault(device_id, []).extend(some)

    def add_entry(self, log_id: bytes, messages: Iterable[Message], naming: DeviceNaming, first_index: int = 0) -> None:
        """Take in messages of one log entry, of which the first stands at `first_index`."""
        ms, seq = MessageId.of(log_id, first_index)
        items, device_of = self._items, naming.device_of
        for message in messages:
            device_id = device_of(message.topic_name, message.client_id)
            own = items.get(device_id)
            if own is None:
                own = items[device_id] = []
            own.append(((ms, seq), message))
            seq += 1

    def merge(self, device_ids: Iterable[str], into: str) -> None:
        """Take the messages of some devices as those of another one."""
        merged = [item for device_id in {*device_ids, into} for item in self._items.pop(device_id, ())]
        if merged:
            self._items[into] = sorted(merged, key=itemgetter(0))

    def __len__(self) -> int:
        """Return how many messages there are."""
        return sum(map(len, self._items.values()))

    @property
    def device_ids(self) -> list[str]:
        """The devices."""
        return list(self._items)

    def groups(self) -> Iterator[DeviceGroup]:
        """Yield every device's groups, in the order in which they have to be applied."""
        for device_id, items in self._items.items():
            group = DeviceGroup(device_id)
            for item in items:
                if group.is_full:
                    yield group
                    group = DeviceGroup(device_id, group.last)
                group.add(*item)
            yield group

    def last_seen_ms(self) -> dict[str, int]:
        """Return when each device was last heard of."""
        return {device_id: max(message.received_ms for _, message in items) for device_id, items in self._items.items()}


@dataclass
class FleetTotals:
    """What a batch adds up to, entry by entry; `after` is where in the log it began."""

    after: MessageId
    last: MessageId = START
    messages: int = 0
    entries: int = 0

    def __post_init__(self) -> None:
        self.first = START
        self._payload_bytes = 0
        self._log_bytes = 0
        self._slots: dict[int, int] = {}

    def add_entry(self, log_id: bytes, frame_bytes: int, messages: int) -> None:
        """Count one entry of the log, readable or not."""
        self.last = MessageId.of(log_id, max(0, messages - 1))
        if not self.entries:
            self.first = MessageId.of(log_id, 0)
        self.entries += 1
        self.messages += messages
        self._log_bytes += frame_bytes + LOG_ENTRY_BYTES

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Count messages of an entry by size and time."""
        for message in messages:
            self._payload_bytes += len(message.payload)
            slot = message.received_ms // SLOT_MS
            self._slots[slot] = self._slots.get(slot, 0) + 1

    def write(self) -> FleetWrite:
        """Return what the batch adds to the totals."""
        return FleetWrite(
            after=self.after,
            first=self.first,
            last=self.last,
            messages=self.messages,
            payload_bytes=self._payload_bytes,
            entries=self.entries,
            log_bytes=self._log_bytes,
            slots={slot * RATE_SLOT_S: count for slot, count in self._slots.items()},
        )


def _topic_state(message: Message) -> bytes:
    payload = message.payload
    return _encode((message.received_ms, message.qos, message.is_retain, payload[:HEAD_BYTES], len(payload)))
