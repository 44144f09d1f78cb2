"""What a page of messages asks of each store that holds some, and what the store answers. Pure.

Ids say when a message was committed, `received_ms` when it was received: in an outage of the store they are far apart. A
filter by time therefore looks LATE_MS wider in ids, in every store alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from store.answers import StoredMessage
from store.json_fields import fields_of
from store.model import DUP_FLAG, START, MessageId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.model import Message

LATE_MS = 3_600_000
MAX_EXAMINED = 16_384  # messages looked at for one page
MAX_EXAMINED_BYTES = 4 * 1024 * 1024  # of their payloads
LAST_ID = MessageId(10**13 - 1, 10**15 - 1)


class Range(NamedTuple):
    """Ids between two, which are left out."""

    low: MessageId
    high: MessageId


@dataclass(frozen=True)
class MessageFilter:
    """Which messages are wanted: of a topic name or filter, with a field (path), received from `from_ms` to before `to_ms`."""

    topic: str | None = None
    field: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether every message is wanted."""
        return self == MessageFilter()

    def matches(self, message: Message) -> bool:
        """Return whether a message is wanted."""
        if self.from_ms is not None and message.received_ms < self.from_ms:
            return False
        if self.to_ms is not None and message.received_ms >= self.to_ms:
            return False
        if self.topic is not None and not topic_matches(self.topic, message.topic_name):
            return False
        return self.field is None or any(path == self.field for path, _ in fields_of(message.payload))

    def range(self, after: MessageId | None, before: MessageId | None) -> Range:
        """Return the ids to look at, for a page between two ids."""
        low, high = after or START, min(before or LAST_ID, LAST_ID)
        if self.from_ms is not None:
            low = max(low, MessageId(max(0, self.from_ms - LATE_MS), 0))
        if self.to_ms is not None:
            high = min(high, MessageId(self.to_ms + LATE_MS, 0))
        return Range(low, high)


class Slice(NamedTuple):
    """What one store found, in the order asked for, having looked at everything up to the id `reached`."""

    rows: list[StoredMessage]
    reached: MessageId
    has_more: bool


def collect(
    messages: Iterable[tuple[MessageId, Message]], device_id: str, wanted: MessageFilter, limit: int, start: MessageId
) -> Slice:
    """Pick what is wanted from messages that come in order behind `start`, until there is enough or a bound is met."""
    rows: list[StoredMessage] = []
    reached, size = start, 0
    for examined, (message_id, message) in enumerate(messages):
        if len(rows) == limit or examined == MAX_EXAMINED or size > MAX_EXAMINED_BYTES:
            return Slice(rows, reached, has_more=True)
        reached, size = message_id, size + len(message.payload)
        if wanted.matches(message):
            rows.append(stored(message_id, device_id, message))
    return Slice(rows, reached, has_more=False)


def stored(message_id: MessageId, device_id: str, message: Message) -> StoredMessage:
    """Return a message as the dashboard sees it."""
    return StoredMessage(
        id=message_id,
        device_id=device_id,
        client_id=message.client_id,
        ts_ms=message.received_ms,
        topic_name=message.topic_name,
        qos=message.qos,
        is_retain=message.is_retain,
        payload=message.payload,
        is_dup=bool(message.flags & DUP_FLAG),
        properties=message.properties,
    )


def topic_matches(topic_filter: str, topic_name: str) -> bool:
    """Whether a topic name is one of a topic filter's [v5 §4.7]; a name without wildcards is its own filter."""
    if topic_name.startswith("$") and topic_filter[:1] in ("+", "#"):  # [v5 MQTT-4.7.2-1]
        return False
    wanted, levels = topic_filter.split("/"), topic_name.split("/")
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(levels) or part not in ("+", levels[position]):
            return False
    return len(levels) == len(wanted)
