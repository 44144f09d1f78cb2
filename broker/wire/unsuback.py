"""UNSUBACK: the server's answer to UNSUBSCRIBE (MQTT 5.0 §3.11, MQTT 3.1.1 §3.11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from broker.wire.errors import ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import check_end, read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import REASON_CODES_OF


@dataclass(slots=True)
class Unsuback:
    """An UNSUBACK packet: one reason code for each topic filter, in their order [v5 MQTT-3.11.3-1].

    Before MQTT 5 there is nothing but the packet identifier: `reason_codes` and `properties` are empty.
    """

    packet_type: ClassVar[PacketType] = PacketType.UNSUBACK

    packet_id: int
    reason_codes: list[int] = field(default_factory=list)
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Unsuback:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        packet_id, position = read_packet_id(body, 0, end)
        if version is not ProtocolVersion.V5:
            check_end(position, end)
            return cls(packet_id)
        properties, position = read_properties(body, position, end, PacketType.UNSUBACK)
        reason_codes = list(body[position:])
        if not reason_codes or not REASON_CODES_OF[PacketType.UNSUBACK].issuperset(reason_codes):
            raise ProtocolViolationError("UNSUBACK: no reason code, or one that is none [v5 MQTT-3.11.3-2]")
        return cls(packet_id, reason_codes, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet; before MQTT 5 without reason codes [v3.1.1 MQTT-3.10.4-4]."""
        body = self.packet_id.to_bytes(2, "big")
        if version is ProtocolVersion.V5:
            body += encode_properties(self.properties) + bytes(self.reason_codes)
        return frame(first_byte(PacketType.UNSUBACK), body)
