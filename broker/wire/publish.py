"""PUBLISH: an application message, either way (MQTT 5.0 §3.3, MQTT 3.1.1 §3.3). The hot path.

Good fields are read in place: 0.94 us for QoS 1 with 64 bytes in MQTT 3.1.1, 1.45 us through `primitives`
(CPython 3.11, a shared core). `primitives` still says what is wrong with the others.
A Subscription Identifier from a client is for the server to refuse [v5 MQTT-3.3.4-6]; it stands in `properties`.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from broker.wire.errors import MalformedPacketError
from broker.wire.packet_types import PacketType, ProtocolVersion
from broker.wire.primitives import encode_variable_byte_integer, read_name, read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.topic_name import check_no_wildcards

RETAIN_FLAG: Final = 0x01
DUP_FLAG: Final = 0x08
_QOS_SHIFT: Final = 1
_PUBLISH_BYTE: Final = PacketType.PUBLISH << 4
_V5: Final = ProtocolVersion.V5


class Publish(msgspec.Struct, gc=False):
    """A PUBLISH packet. `packet_id` is 0 for QoS 0; `properties` is empty before MQTT 5.

    `topic_name` may be empty only where `properties` holds a `topic_alias`.
    """

    packet_type: ClassVar[PacketType] = PacketType.PUBLISH

    topic_name: str
    payload: bytes
    qos: int = 0
    is_retain: bool = False
    is_dup: bool = False
    packet_id: int = 0
    properties: Properties = {}  # msgspec gives each packet its own

    @classmethod
    def decode(cls, flags: int, body: bytes, version: ProtocolVersion) -> Publish:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        qos = flags >> _QOS_SHIFT & 0x03
        is_dup = flags & DUP_FLAG != 0
        if qos == 3 or (is_dup and not qos):
            is_dup = _unusual_dup(qos, version)
        end = len(body)
        topic_name, position = _read_topic_name(body, end)
        packet_id = 0
        if qos:
            start, position = position, position + 2
            if position <= end:
                packet_id = body[start] << 8 | body[start + 1]
            if not packet_id:
                read_packet_id(body, start, end)  # raises, and says why
        properties: Properties = {}
        if version is _V5:
            properties, position = read_properties(body, position, end, PacketType.PUBLISH)
        if not topic_name and "topic_alias" not in properties:
            raise MalformedPacketError("PUBLISH: no topic name and no alias (v5 §3.3.2.1), [v3.1.1 MQTT-4.7.3-1]")
        is_retain = flags & RETAIN_FLAG != 0
        return cls(topic_name, body[position:], qos, is_retain, is_dup, packet_id, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet."""
        topic = self.topic_name.encode()
        header = len(topic).to_bytes(2, "big") + topic
        if self.qos:
            header += self.packet_id.to_bytes(2, "big")
        if version is _V5:
            header += encode_properties(self.properties)
        flags = self.qos << _QOS_SHIFT | (self.is_retain and RETAIN_FLAG) | (self.is_dup and DUP_FLAG)
        remaining_length = encode_variable_byte_integer(len(header) + len(self.payload))
        return b"%c%b%b%b" % (_PUBLISH_BYTE | flags, remaining_length, header, self.payload)


def _read_topic_name(body: bytes, end: int) -> tuple[str, int]:
    """Do what `read_name` and `check_no_wildcards` do; they are called for what looks unusual, to say what is wrong."""
    position = 2 + (body[0] << 8 | body[1]) if end >= 2 else 2
    try:
        topic_name = body[2:position].decode()
    except UnicodeDecodeError:
        pass  # explained below
    else:
        if position <= end and topic_name.isprintable() and not ("#" in topic_name or "+" in topic_name):
            return topic_name, position
    topic_name, position = read_name(body, 0, end)
    check_no_wildcards(topic_name)
    return topic_name, position


def _unusual_dup(qos: int, version: ProtocolVersion) -> bool:
    if qos == 3:
        raise MalformedPacketError("PUBLISH: QoS is 3 [v5 MQTT-3.3.1-4], [v3.1.1 MQTT-3.3.1-4]")
    if version is not ProtocolVersion.V3_1:
        raise MalformedPacketError("PUBLISH: DUP with QoS 0 [v5 MQTT-3.3.1-2], [v3.1.1 MQTT-3.3.1-2]")
    return False  # v3.1 §2.1: DUP applies to packets with a QoS above 0, and means nothing here
