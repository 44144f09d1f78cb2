"""PUBACK, PUBREC, PUBREL, PUBCOMP: four packets of one shape (MQTT 5.0 §3.4-§3.7, MQTT 3.1.1 §3.4-§3.7).

packet identifier: 2 bytes | v5, if not 0x00: reason code | v5, if any: properties
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from broker.wire.errors import ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import check_end, read_packet_id
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import REASON_CODES_OF


@dataclass(slots=True)
class _Acknowledgement:
    """What the four share. `reason_code` is 0 and `properties` empty before MQTT 5."""

    packet_type: ClassVar[PacketType]

    packet_id: int
    reason_code: int = 0
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Self:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        packet_id, position = read_packet_id(body, 0, end)
        if position == end:
            return cls(packet_id)  # v5 §3.4.2.1: a Remaining Length of 2 means success
        if version is not ProtocolVersion.V5:
            check_end(position, end)
        reason_code = body[position]
        if reason_code not in REASON_CODES_OF[cls.packet_type]:
            raise ProtocolViolationError(
                f"{cls.packet_type.name}: 0x{reason_code:02X} is no reason code of it [v5 MQTT-3.4.2-1]"
            )
        position += 1
        properties: Properties = {}
        if position != end:  # v5 §3.4.2.2.1: no Property Length in a Remaining Length below 4
            properties, position = read_properties(body, position, end, cls.packet_type)
            check_end(position, end)
        return cls(packet_id, reason_code, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet, as short as the specification allows."""
        body = self.packet_id.to_bytes(2, "big")
        if version is ProtocolVersion.V5 and (self.reason_code or self.properties):
            body += bytes((self.reason_code,))
            if self.properties:
                body += encode_properties(self.properties)
        return frame(first_byte(self.packet_type), body)


@dataclass(slots=True)
class Puback(_Acknowledgement):
    """The receiver owns a QoS 1 message."""

    packet_type: ClassVar[PacketType] = PacketType.PUBACK


@dataclass(slots=True)
class Pubrec(_Acknowledgement):
    """The receiver owns a QoS 2 message: part 1 of its delivery."""

    packet_type: ClassVar[PacketType] = PacketType.PUBREC


@dataclass(slots=True)
class Pubrel(_Acknowledgement):
    """The sender has let go of a QoS 2 message: part 2."""

    packet_type: ClassVar[PacketType] = PacketType.PUBREL


@dataclass(slots=True)
class Pubcomp(_Acknowledgement):
    """The packet identifier is free again: part 3."""

    packet_type: ClassVar[PacketType] = PacketType.PUBCOMP
