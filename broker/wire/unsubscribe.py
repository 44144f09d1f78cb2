"""UNSUBSCRIBE: a client ends subscriptions (MQTT 5.0 §3.10, MQTT 3.1.1 §3.10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from broker.wire.errors import MalformedPacketError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import encode_utf8_string, read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.topic_filter import check_filter_count, read_topic_filter


@dataclass(slots=True)
class Unsubscribe:
    """An UNSUBSCRIBE packet with at least one topic filter; `properties` is empty before MQTT 5."""

    packet_type: ClassVar[PacketType] = PacketType.UNSUBSCRIBE

    packet_id: int
    topic_filters: list[str]
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Unsubscribe:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        packet_id, position = read_packet_id(body, 0, end, if_zero=MalformedPacketError)
        properties: Properties = {}
        if version is ProtocolVersion.V5:
            properties, position = read_properties(body, position, end, PacketType.UNSUBSCRIBE)
        if position == end:
            raise MalformedPacketError("UNSUBSCRIBE has no topic filter [v5 MQTT-3.10.3-2], [v3.1.1 MQTT-3.10.3-2]")
        topic_filters = []
        while position != end:
            topic_filter, position = read_topic_filter(body, position, end)
            topic_filters.append(topic_filter)
            check_filter_count(len(topic_filters))
        return cls(packet_id, topic_filters, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet."""
        properties = encode_properties(self.properties) if version is ProtocolVersion.V5 else b""
        filters = b"".join(encode_utf8_string(topic_filter) for topic_filter in self.topic_filters)
        return frame(first_byte(PacketType.UNSUBSCRIBE), self.packet_id.to_bytes(2, "big") + properties + filters)
