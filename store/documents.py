"""A message as a document of the long history in MongoDB, and back. Pure.

    {_id: "1769860800000-000000000065536",     id of the message; padded, so that it sorts as the message was published
     device: "d1", client: "c1", topic: "devices/d1/telemetry",
     ts: ISODate("2026-01-31T12:00:00Z"),      received
     qos: 1, retain: false,                    and dup: true where it was set
     payload: '{"env": {"temperature": 21}}',  text where the bytes are UTF-8, else BinData
     fields: {env: {temperature: 21}},         the JSON payload's scalars (`json_fields`); left out where there are none
     properties: BinData(…)}                   MQTT 5 properties as on the wire; left out where there are none

MongoDB 4.0 takes no `.` within a name and no `$` before it, and BSON no U+0000: `escape` writes other characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from store.json_fields import fields_of, storable
from store.model import DUP_FLAG, QOS_MASK, RETAIN_FLAG, Message, MessageId

if TYPE_CHECKING:
    from store.json_fields import Scalar

    Document = dict[str, Any]

CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
"""What documents have to be read with: a date then has all its milliseconds, and any year."""

SEQ_DIGITS = 15
MS_DIGITS = 13
_MAX_INTEGER = (1 << 63) - 1
_ESCAPED = str.maketrans({".": "\uff0e", "\0": "\u2400"})
_EMPTY_NAME = "\u2205"


def document_id(message_id: MessageId) -> str:
    """Return a message's `_id`. Such ids sort as the messages do, until the year 2286."""
    return f"{message_id.ms:0{MS_DIGITS}d}-{message_id.seq:0{SEQ_DIGITS}d}"


def message_id_of(document_id: str) -> MessageId:
    """Return the id of the message that has this `_id`. Raises ValueError for anything else."""
    return MessageId.parse(document_id)


def document_of(message_id: MessageId, device_id: str, message: Message) -> Document:
    """Return the document of a message: 16 MiB at most, which settings.py sees to."""
    document: Document = {
        "_id": document_id(message_id),
        "device": device_id,
        "client": message.client_id,
        "topic": message.topic_name,
        "ts": DatetimeMS(message.received_ms),
        "qos": message.qos,
        "retain": message.is_retain,
    }
    if message.flags & DUP_FLAG:
        document["dup"] = True
    document["payload"] = _text_or_bytes(message.payload)
    fields = fields_document(message.payload)
    if fields:
        document["fields"] = fields
    if message.properties:
        document["properties"] = message.properties
    return document


def read_document(document: Document) -> tuple[MessageId, str, Message]:
    """Return id, device and message of a document that was read with CODEC_OPTIONS."""
    payload = document["payload"]
    flags = document["qos"] & QOS_MASK | (RETAIN_FLAG if document["retain"] else 0)
    message = Message(
        topic_name=document["topic"],
        client_id=document["client"],
        received_ms=int(document["ts"]),
        flags=flags | (DUP_FLAG if document.get("dup") else 0),
        payload=payload.encode() if isinstance(payload, str) else payload,
        properties=document.get("properties", b""),
    )
    return message_id_of(document["_id"]), document["device"], message


def fields_document(payload: bytes) -> Document:
    """Return a payload's scalars, nested as their paths are; empty if it is not JSON.

    Where a path leads through another one's scalar (`{"a": 1, "a.b": 2}`), it stays one name, its dots escaped.
    """
    fields: Document = {}
    paths = [(path.split("."), value) for path, value in fields_of(payload)]
    paths.sort(key=lambda each: len(each[0]))  # a scalar comes before what leads through it
    for parts, value in paths:
        inner = _inner(fields, parts[:-1])
        if inner is None:
            fields[escape(".".join(parts))] = _bson(value)
        else:
            inner[escape(parts[-1])] = _bson(value)
    return fields


def field_names(path: str) -> tuple[str, str]:
    """Return the two names under which a query finds a field: nested (`fields.a.b`), and as one name."""
    nested = ".".join(escape(part) for part in path.split("."))
    return f"fields.{nested}", f"fields.{escape(path)}"


def escape(name: str) -> str:
    """Return a name that MongoDB 4.0 takes: full-width dots, a full-width `$` at the start, no empty one."""
    escaped = name.translate(_ESCAPED)
    if escaped.startswith("$"):
        escaped = "\uff04" + escaped[1:]
    return escaped or _EMPTY_NAME


def _inner(fields: Document, parts: list[str]) -> Document | None:
    """Return the document at a path, made where it is missing; None where a scalar is in the way."""
    for part in parts:
        fields = fields.setdefault(escape(part), {})
        if type(fields) is not dict:
            return None
    return fields


def _bson(value: Scalar) -> Scalar:
    stored = storable(value)
    return float(stored) if type(stored) is int and stored > _MAX_INTEGER else stored


def _text_or_bytes(payload: bytes) -> str | bytes:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
