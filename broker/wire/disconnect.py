"""DISCONNECT: the last packet of a network connection (MQTT 5.0 §3.14, MQTT 3.1.1 §3.14).

    v5, if not 0x00: reason code | v5, if any: properties

Which reason codes only a server may send, and that only a client may send it before MQTT 5, is not judged here.
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
class Disconnect:
    """A DISCONNECT packet; `reason_code` is 0 (normal) and `properties` empty before MQTT 5."""

    packet_type: ClassVar[PacketType] = PacketType.DISCONNECT

    reason_code: int = 0
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Disconnect:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        if version is not ProtocolVersion.V5:
            check_end(0, end)
        if end == 0:
            return cls()  # v5 §3.14.2.1: normal disconnection
        if body[0] not in REASON_CODES_OF[PacketType.DISCONNECT]:
            raise ProtocolViolationError(f"DISCONNECT: 0x{body[0]:02X} is no reason code of it [v5 MQTT-3.14.2-1]")
        if end == 1:
            return cls(body[0])  # v5 §3.14.2.2.1: no Property Length
        properties, position = read_properties(body, 1, end, PacketType.DISCONNECT)
        check_end(position, end)
        return cls(body[0], properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet, as short as the specification allows."""
        body = b""
        if version is ProtocolVersion.V5 and (self.reason_code or self.properties):
            body = bytes((self.reason_code,))
            if self.properties:
                body += encode_properties(self.properties)
        return frame(first_byte(PacketType.DISCONNECT), body)
