r"""A message as one line of JSON: what export writes and import reads. Pure.

    {"device":"a","id":"1769860800000-65536","ts":"2026-01-31T12:00:00.000Z","topic":"devices/a/t","qos":1,"retain":false,
     "client":"a","payload":{"text":"{\"t\": 21.5}"}}

A payload that is not UTF-8 is {"base64": …}. Where they are not empty: "dup": true, and "properties", the MQTT 5
properties as on the wire, in base64. The same message always gives the same bytes.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

import msgspec

from store.model import DUP_FLAG, MAX_DEVICE_ID_LENGTH, QOS_MASK, RETAIN_FLAG, Message, MessageId
from store.times import SecondsCache

if TYPE_CHECKING:
    from collections.abc import Iterable

Found = tuple[str, MessageId, Message]
"""A device's id, a message's id, the message."""

MAX_NAME_BYTES = 65_535  # of a topic name or client id, as MQTT has it


class _Payload(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    text: str | msgspec.UnsetType = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET


class _Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    device: str
    id: str
    ts: str
    topic: str
    qos: int
    retain: bool
    client: str
    payload: _Payload
    dup: bool = False
    properties: str = ""


class LineWriter:
    """Turns messages into lines."""

    def __init__(self) -> None:
        self._times = SecondsCache()
        self._encode_lines = msgspec.json.Encoder().encode_lines

    head = b""

    def lines(self, found: Iterable[Found]) -> bytes:
        """Return one line for each message, each with its end."""
        return self._encode_lines([self._line(*each) for each in found])

    def _line(self, device_id: str, message_id: MessageId, message: Message) -> _Line:
        flags = message.flags
        return _Line(
            device=device_id,
            id=f"{message_id[0]}-{message_id[1]}",
            ts=self._times.write(message.received_ms),
            topic=message.topic_name,
            qos=flags & QOS_MASK,
            retain=flags & RETAIN_FLAG != 0,
            client=message.client_id,
            payload=_payload(message.payload),
            dup=flags & DUP_FLAG != 0,
            properties=_base64(message.properties) if message.properties else "",
        )


class LineReader:
    """Turns lines back into messages."""

    def __init__(self) -> None:
        self._times = SecondsCache()
        self._decode = msgspec.json.Decoder(_Line).decode

    def read(self, line: bytes) -> Found:
        """Return the message of a line. Raises ValueError that says what is wrong with it."""
        found = self._decode(line)
        if not 0 < len(found.device) <= MAX_DEVICE_ID_LENGTH:
            raise ValueError(f"device has to be 1 to {MAX_DEVICE_ID_LENGTH} characters")
        if not 0 <= found.qos <= 2:
            raise ValueError("qos has to be 0, 1 or 2")
        if not found.topic or _is_long(found.topic) or _is_long(found.client):
            raise ValueError(f"topic has to be 1 to {MAX_NAME_BYTES} bytes, client no longer")
        flags = found.qos | (RETAIN_FLAG if found.retain else 0) | (DUP_FLAG if found.dup else 0)
        message = Message(
            found.topic,
            found.client,
            self._times.read(found.ts),
            flags,
            _payload_bytes(found.payload),
            _bytes("properties", found.properties),
        )
        return found.device, MessageId.parse(found.id), message


def _is_long(name: str) -> bool:
    return len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES


def _payload(payload: bytes) -> _Payload:
    try:
        return _Payload(text=payload.decode())
    except UnicodeDecodeError:
        return _Payload(base64=_base64(payload))


def _payload_bytes(payload: _Payload) -> bytes:
    text, base64 = payload.text, payload.base64
    if base64 is msgspec.UNSET and text is not msgspec.UNSET:
        return text.encode()
    if text is msgspec.UNSET and base64 is not msgspec.UNSET:
        return _bytes("payload", base64)
    raise ValueError("payload has to hold either text or base64")


def _base64(binary: bytes) -> str:
    return binascii.b2a_base64(binary, newline=False).decode()


def _bytes(name: str, text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError as error:
        raise ValueError(f"{name} is not base64: {error}") from None
