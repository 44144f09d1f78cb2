"""AUTH: a step of an enhanced authentication, only in MQTT 5.0 (§3.15).

nothing, or: reason code | properties
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from broker.wire.errors import ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import check_end
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import REASON_CODES_OF


@dataclass(slots=True)
class Auth:
    """An AUTH packet. That an `authentication_method` is missing is for the exchange to notice."""

    packet_type: ClassVar[PacketType] = PacketType.AUTH

    reason_code: int = 0
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, _version: ProtocolVersion) -> Auth:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        if end == 0:
            return cls()  # v5 §3.15.2.1: success, no properties
        if body[0] not in REASON_CODES_OF[PacketType.AUTH]:
            raise ProtocolViolationError(f"AUTH: 0x{body[0]:02X} is no reason code of it [v5 MQTT-3.15.2-1]")
        properties, position = read_properties(body, 1, end, PacketType.AUTH)
        check_end(position, end)
        return cls(body[0], properties)

    def encode(self, _version: ProtocolVersion) -> bytes:
        """Return the packet."""
        body = b""
        if self.reason_code or self.properties:
            body = bytes((self.reason_code,)) + encode_properties(self.properties)
        return frame(first_byte(PacketType.AUTH), body)
