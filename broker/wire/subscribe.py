"""SUBSCRIBE: a client names what it wants to receive (MQTT 5.0 §3.8, MQTT 3.1.1 §3.8).

How many levels a topic filter may have is judged in `broker.routing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from broker.wire.errors import MalformedPacketError, ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import encode_utf8_string, read_byte, read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.topic_filter import check_filter_count, read_topic_filter

_QOS_MASK, _NO_LOCAL_FLAG, _RETAIN_AS_PUBLISHED_FLAG, _RETAIN_HANDLING_SHIFT = 0x03, 0x04, 0x08, 4
_RESERVED_BITS: Final = {ProtocolVersion.V3_1: 0x00, ProtocolVersion.V3_1_1: 0xFC, ProtocolVersion.V5: 0xC0}
_SHARED_PREFIX: Final = "$share/"


@dataclass(slots=True)
class Subscription:
    """A topic filter and its options (v5 §3.8.3.1); `qos` is the most the client accepts.

    `retain_handling`: 0 send retained messages, 1 only for a new subscription, 2 never.
    """

    topic_filter: str
    qos: int = 0
    is_no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    """A SUBSCRIBE packet with at least one subscription; `properties` is empty before MQTT 5."""

    packet_type: ClassVar[PacketType] = PacketType.SUBSCRIBE

    packet_id: int
    subscriptions: list[Subscription]
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Subscribe:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        packet_id, position = read_packet_id(body, 0, end, if_zero=MalformedPacketError)
        properties: Properties = {}
        if version is ProtocolVersion.V5:
            properties, position = read_properties(body, position, end, PacketType.SUBSCRIBE)
        if position == end:
            raise MalformedPacketError("SUBSCRIBE has no topic filter [v5 MQTT-3.8.3-2], [v3.1.1 MQTT-3.8.3-3]")
        subscriptions = []
        while position != end:
            topic_filter, position = read_topic_filter(body, position, end)
            options, position = read_byte(body, position, end)
            subscriptions.append(_subscription(topic_filter, options, version))
            check_filter_count(len(subscriptions))
        return cls(packet_id, subscriptions, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet; before MQTT 5 only the QoS of each subscription's options is sent."""
        parts = [self.packet_id.to_bytes(2, "big")]
        if version is ProtocolVersion.V5:
            parts.append(encode_properties(self.properties))
        for subscription in self.subscriptions:
            parts.append(encode_utf8_string(subscription.topic_filter))
            parts.append(bytes((_options(subscription, version),)))
        return frame(first_byte(PacketType.SUBSCRIBE), b"".join(parts))


def _subscription(topic_filter: str, options: int, version: ProtocolVersion) -> Subscription:
    if options & _RESERVED_BITS[version]:
        raise MalformedPacketError("SUBSCRIBE: reserved bits are set [v5 MQTT-3.8.3-5], [v3.1.1 MQTT-3-8.3-4]")
    qos = options & _QOS_MASK
    if qos == 3:
        raise MalformedPacketError("SUBSCRIBE: QoS is 3 (v5 §3.8.3.1), [v3.1.1 MQTT-3-8.3-4]")
    if version is not ProtocolVersion.V5:
        return Subscription(topic_filter, qos)
    retain_handling = options >> _RETAIN_HANDLING_SHIFT & 0x03
    if retain_handling == 3:
        raise MalformedPacketError("SUBSCRIBE: Retain Handling is 3 (v5 §3.8.3.1)")
    is_no_local = bool(options & _NO_LOCAL_FLAG)
    if is_no_local and topic_filter.startswith(_SHARED_PREFIX):
        raise ProtocolViolationError("SUBSCRIBE: No Local on a Shared Subscription [v5 MQTT-3.8.3-4]")
    return Subscription(topic_filter, qos, is_no_local, bool(options & _RETAIN_AS_PUBLISHED_FLAG), retain_handling)


def _options(subscription: Subscription, version: ProtocolVersion) -> int:
    if version is not ProtocolVersion.V5:
        return subscription.qos
    return (
        subscription.qos
        | (subscription.is_no_local and _NO_LOCAL_FLAG)
        | (subscription.retain_as_published and _RETAIN_AS_PUBLISHED_FLAG)
        | subscription.retain_handling << _RETAIN_HANDLING_SHIFT
    )
