"""Messages as points of InfluxDB, in its line protocol. Pure.

    messages,device=d1,topic=devices/d1/telemetry temperature=21.5,battery.level=80.0,state="on" 1769860800000000000

One message is one point: its fields are the scalars of its JSON payload (`store.json_fields`); a message without any is
none. Numbers are always floats, as the type of a field cannot change: 21 and 21.5 have to go into one.

Some names cannot be written in it (source: the line protocol references of InfluxDB 1.x and 2.x, and what 1.6.7 does):
control characters become spaces, a backslash becomes `/` (before a comma or at the end it would escape what follows),
and a field with a name of InfluxDB's or of a tag here gets FIELD_PREFIX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.json_fields import fields_of, storable
from store.model import INDEX_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.json_fields import Scalar
    from store.model import Message, MessageId

MAX_TOPIC_LENGTH = 1024  # in a tag: InfluxDB refuses a point whose names and tags have more than 65,535 bytes
FIELD_PREFIX = "field_"
TAKEN_NAMES = frozenset({"time", "device", "topic"})  # as fields they could not be told from the time and the tags

NS = 1_000_000  # of a millisecond
SLOTS = 16  # of a millisecond, one for each millisecond a message waited for its commit
SLOT_NS = NS // SLOTS
ENTRY_BITS = 13  # of a message's place in its log entry: a batch has 8192 messages at most, unless it is told otherwise

_NAME_ESCAPES = str.maketrans(
    {",": "\\,", "=": "\\=", " ": "\\ ", "\\": "/", **{chr(code): "\\ " for code in (*range(32), 127)}}
)
_TEXT_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})


def points(measurement: str, messages: Iterable[tuple[MessageId, str, Message]]) -> list[bytes]:
    """Return a line, with its line break, for each message that has fields; in the order given.

    `measurement` has no character that would need escaping (`settings.parsers` sees to it).
    """
    lines = (point(measurement, *each) for each in messages)
    return [line for line in lines if line]


def point(measurement: str, message_id: MessageId, device_id: str, message: Message) -> bytes:
    """Return the line of one message, empty if it has no fields. The same message always gives the same line."""
    # InfluxDB 1.x refuses a whole request for a point that has one field twice, in two types: {"a.b": 1, "a": {"b": ""}}
    written = {_field_name(path): _value(value) for path, value in fields_of(message.payload)}
    fields = ",".join(f"{name}={value}" for name, value in written.items() if name and value)
    if not fields:
        return b""
    tags = _tag("device", device_id) + _tag("topic", message.topic_name[:MAX_TOPIC_LENGTH])
    return f"{measurement}{tags} {fields} {time_ns(message_id, message)}\n".encode()


def time_ns(message_id: MessageId, message: Message) -> int:
    """Return a point's time: when the message was received, made unique below the millisecond by its place in the log.

    InfluxDB keeps one point of a time, device and topic. Messages received in one millisecond differ in when they were
    committed (SLOTS), or in the log entry of that millisecond, or in their place in that entry: they keep their order.
    """
    ms, seq = message_id
    waited_ms = ms - message.received_ms
    place = ((seq >> INDEX_BITS) << ENTRY_BITS) + (seq & ((1 << INDEX_BITS) - 1))
    return message.received_ms * NS + waited_ms % SLOTS * SLOT_NS + place % SLOT_NS


def _field_name(path: str) -> str:
    if path in TAKEN_NAMES or path.startswith("_"):  # names of InfluxDB's own begin with an underscore
        path = FIELD_PREFIX + path.lstrip("_")
    return path.translate(_NAME_ESCAPES)


def _value(value: Scalar) -> str:
    """Return a value as it is written; nothing where it cannot be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{str(storable(value)).translate(_TEXT_ESCAPES)}"'
    return "" if value is None else _number(value)


def _number(value: float) -> str:
    try:
        return repr(float(value))
    except OverflowError:  # an integer of hundreds of digits
        return ""


def _tag(key: str, value: str) -> str:
    return f",{key}={value.translate(_NAME_ESCAPES)}" if value else ""  # an empty one would make the line invalid
