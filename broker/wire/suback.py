"""SUBACK: the server's answer to each subscription (MQTT 5.0 §3.9, MQTT 3.1.1 §3.9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from broker.wire.errors import ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import FAILURE, REASON_CODES_OF

_CODES: Final = {
    ProtocolVersion.V3_1: frozenset((0, 1, 2)),
    ProtocolVersion.V3_1_1: frozenset((0, 1, 2, FAILURE)),
    ProtocolVersion.V5: REASON_CODES_OF[PacketType.SUBACK],
}


@dataclass(slots=True)
class Suback:
    """A SUBACK packet: one code for each subscription, in their order [v5 MQTT-3.8.4-6].

    Before MQTT 5 a code is the granted QoS or 0x80 (MQTT 3.1 has no refusal), and `properties` is empty.
    """

    packet_type: ClassVar[PacketType] = PacketType.SUBACK

    packet_id: int
    reason_codes: list[int]
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Suback:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        packet_id, position = read_packet_id(body, 0, end)
        properties: Properties = {}
        if version is ProtocolVersion.V5:
            properties, position = read_properties(body, position, end, PacketType.SUBACK)
        reason_codes = list(body[position:])
        if not reason_codes or not _CODES[version].issuperset(reason_codes):
            raise ProtocolViolationError("SUBACK: no code, or one that is none [v5 MQTT-3.9.3-2]")
        return cls(packet_id, reason_codes, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet; before MQTT 5 every failure is 0x80 [v3.1.1 MQTT-3.9.3-2]."""
        packet_id = self.packet_id.to_bytes(2, "big")
        if version is ProtocolVersion.V5:
            body = packet_id + encode_properties(self.properties) + bytes(self.reason_codes)
        else:
            body = packet_id + bytes(min(code, FAILURE) for code in self.reason_codes)
        return frame(first_byte(PacketType.SUBACK), body)
