"""Control packets as bytes, written by hand from the specification for the tests alone.

It encodes what a client sends, right or deliberately wrong, and reads what a server answers. It checks nothing:
judging is the tests' work. `version` is the protocol level: 3 (MQTT 3.1), 4 (3.1.1) or 5.
Source: MQTT 5.0 and 3.1.1, chapters 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

# MQTT 5.0 §2.2.2.2
PAYLOAD_FORMAT, MESSAGE_EXPIRY_INTERVAL, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA = 0x01, 0x02, 0x03, 0x08, 0x09
SUBSCRIPTION_IDENTIFIER, SESSION_EXPIRY_INTERVAL, ASSIGNED_CLIENT_IDENTIFIER = 0x0B, 0x11, 0x12
SERVER_KEEP_ALIVE, WILL_DELAY_INTERVAL, REASON_STRING, RECEIVE_MAXIMUM = 0x13, 0x18, 0x1F, 0x21
TOPIC_ALIAS_MAXIMUM, TOPIC_ALIAS, MAXIMUM_QOS, RETAIN_AVAILABLE, USER_PROPERTY = 0x22, 0x23, 0x24, 0x25, 0x26
MAXIMUM_PACKET_SIZE, REQUEST_PROBLEM_INFORMATION = 0x27, 0x17
REQUEST_RESPONSE_INFORMATION, RESPONSE_INFORMATION = 0x19, 0x1A

BYTE_PROPERTIES = {0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A}
TWO_BYTE_PROPERTIES = {0x13, 0x21, 0x22, 0x23}
FOUR_BYTE_PROPERTIES = {0x02, 0x11, 0x18, 0x27}
BINARY_PROPERTIES = {0x09, 0x16}

PropertyValue = int | str | bytes | tuple[str, str]
Properties = Sequence[tuple[int, PropertyValue]]
NO_PROPERTIES: Properties = ()


class Will(NamedTuple):
    """What CONNECT says of the will."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Packet(NamedTuple):
    """One control packet as received: type, the four flag bits, and everything after the fixed header."""

    type: int
    flags: int
    body: bytes


class Connack(NamedTuple):
    is_session_present: bool
    code: int
    properties: Properties

    def value(self, identifier: int) -> PropertyValue | None:
        """Return the first property of that identifier, None without it."""
        return dict(reversed(self.properties)).get(identifier)


class Publish(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int
    properties: Properties

    def values(self, identifier: int) -> list[PropertyValue]:
        """Return every property of that identifier, in order."""
        return [value for key, value in self.properties if key == identifier]


class Acknowledgement(NamedTuple):
    """PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK; one code for each answer, none where 3.x has none."""

    packet_id: int
    codes: tuple[int, ...]


def text(value: str | bytes) -> bytes:
    """Encode a string or binary data with its length in two bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def varint(value: int) -> bytes:
    """Encode a Variable Byte Integer (§1.5.5)."""
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


def _property(identifier: int, value: PropertyValue) -> bytes:
    if isinstance(value, tuple):
        return bytes([identifier]) + text(value[0]) + text(value[1])
    if isinstance(value, str | bytes):
        return bytes([identifier]) + text(value)
    if identifier in BYTE_PROPERTIES:
        return bytes([identifier, value])
    if identifier in TWO_BYTE_PROPERTIES:
        return bytes([identifier]) + struct.pack("!H", value)
    if identifier in FOUR_BYTE_PROPERTIES:
        return bytes([identifier]) + struct.pack("!I", value)
    return bytes([identifier]) + varint(value)


def properties(version: int, values: Properties = NO_PROPERTIES) -> bytes:
    """Encode a property block; nothing at all before MQTT 5."""
    if version < 5:
        return b""
    block = b"".join(_property(identifier, value) for identifier, value in values)
    return varint(len(block)) + block


def packet(packet_type: int, flags: int, body: bytes = b"") -> bytes:
    """Put a fixed header before `body`."""
    return bytes([packet_type << 4 | flags]) + varint(len(body)) + body


def connect(
    version: int,
    client_id: str = "",
    *,
    clean: bool = True,
    keep_alive_s: int = 60,
    will: Will | None = None,
    username: str | None = None,
    password: str | None = None,
    props: Properties = NO_PROPERTIES,
    level: int | None = None,
) -> bytes:
    """CONNECT. `level` overrides the protocol level that `version` stands for."""
    flags = 0x02 if clean else 0
    payload = text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
        payload += properties(version, will.properties) + text(will.topic) + text(will.payload)
    if username is not None:
        flags |= 0x80
        payload += text(username)
    if password is not None:
        flags |= 0x40
        payload += text(password)
    name = "MQIsdp" if version == 3 else "MQTT"
    header = text(name) + struct.pack("!BBH", level or version, flags, keep_alive_s)
    return packet(CONNECT, 0, header + properties(version, props) + payload)


def publish(
    version: int,
    topic: str | bytes,
    payload: bytes = b"",
    *,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    dup: bool = False,
    props: Properties = NO_PROPERTIES,
) -> bytes:
    """PUBLISH; the packet identifier is written where `qos` is not 0."""
    identifier = struct.pack("!H", packet_id) if qos else b""
    flags = (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    return packet(PUBLISH, flags, text(topic) + identifier + properties(version, props) + payload)


def acknowledgement(packet_type: int, packet_id: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP in the short form, which means success in every version."""
    return packet(packet_type, 0x02 if packet_type == PUBREL else 0, struct.pack("!H", packet_id))


def subscribe(
    version: int, packet_id: int, filters: list[tuple[str | bytes, int]], props: Properties = NO_PROPERTIES
) -> bytes:
    """SUBSCRIBE to pairs of a filter and its options byte (before MQTT 5: the QoS)."""
    payload = b"".join(text(topic_filter) + bytes([options]) for topic_filter, options in filters)
    return packet(SUBSCRIBE, 0x02, struct.pack("!H", packet_id) + properties(version, props) + payload)


def unsubscribe(version: int, packet_id: int, filters: list[str]) -> bytes:
    """UNSUBSCRIBE."""
    return packet(
        UNSUBSCRIBE, 0x02, struct.pack("!H", packet_id) + properties(version) + b"".join(text(each) for each in filters)
    )


def disconnect(version: int, reason_code: int = 0, props: Properties = NO_PROPERTIES) -> bytes:
    """DISCONNECT; MQTT 5 carries a reason code where it is not 0 or properties follow."""
    if version < 5 or (reason_code == 0 and not props):
        return packet(DISCONNECT, 0)
    return packet(DISCONNECT, 0, bytes([reason_code]) + properties(version, props))


PING = packet(PINGREQ, 0)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data), f"packet too short: {self.data!r}"
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def text(self) -> str:
        return self.take(self.number(2)).decode()

    def varint(self) -> int:
        value = shift = 0
        while True:
            digit = self.number(1)
            value |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return value

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def value(self, identifier: int) -> PropertyValue:
        sizes = ((BYTE_PROPERTIES, 1), (TWO_BYTE_PROPERTIES, 2), (FOUR_BYTE_PROPERTIES, 4))
        for identifiers, size in sizes:
            if identifier in identifiers:
                return self.number(size)
        if identifier == SUBSCRIPTION_IDENTIFIER:
            return self.varint()
        if identifier == USER_PROPERTY:
            return self.text(), self.text()
        return self.take(self.number(2)) if identifier in BINARY_PROPERTIES else self.text()

    def properties(self, version: int) -> Properties:
        if version < 5:
            return []
        end = self.varint() + self.at
        values: list[tuple[int, PropertyValue]] = []
        while self.at < end:
            identifier = self.number(1)
            values.append((identifier, self.value(identifier)))
        return values


def read_connack(version: int, received: Packet) -> Connack:
    """Read CONNACK. One of two bytes is read as 3.x whatever the version: that is how refusals of a level come."""
    reader = _Reader(received.body)
    present, code = reader.number(1), reader.number(1)
    return Connack(bool(present & 1), code, reader.properties(version) if len(received.body) > 2 else [])


def read_publish(version: int, received: Packet) -> Publish:
    """Read PUBLISH."""
    reader = _Reader(received.body)
    topic, qos = reader.text(), received.flags >> 1 & 3
    packet_id = reader.number(2) if qos else 0
    values = reader.properties(version)
    return Publish(topic, reader.rest(), qos, bool(received.flags & 1), bool(received.flags & 8), packet_id, values)


def read_acknowledgement(version: int, received: Packet) -> Acknowledgement:
    """Read PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK."""
    reader = _Reader(received.body)
    packet_id = reader.number(2)
    if received.type in (SUBACK, UNSUBACK):
        reader.properties(version)
        return Acknowledgement(packet_id, tuple(reader.rest()))
    if version < 5:
        assert len(received.body) == 2, f"a 3.x acknowledgement has two bytes: {received!r}"
        return Acknowledgement(packet_id, ())
    return Acknowledgement(packet_id, (received.body[2] if len(received.body) > 2 else 0,))


def read_disconnect(received: Packet) -> int:
    """Return the reason code of a server's DISCONNECT (MQTT 5)."""
    return received.body[0] if received.body else 0


def read_reason_string(received: Packet) -> PropertyValue | None:
    """Return the Reason String of a PUBACK, PUBREC, SUBACK or DISCONNECT (MQTT 5), None without one."""
    reader = _Reader(received.body)
    reader.take({DISCONNECT: 1, SUBACK: 2}.get(received.type, 3))
    return dict(reader.properties(5)).get(REASON_STRING) if reader.at < len(received.body) else None
