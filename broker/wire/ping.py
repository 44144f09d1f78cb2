"""PINGREQ and PINGRESP: a fixed header and nothing else (MQTT 5.0 §3.12, §3.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import check_end


@dataclass(slots=True)
class _Ping:
    """What the two share."""

    packet_type: ClassVar[PacketType]

    @classmethod
    def decode(cls, _flags: int, body: bytes, _version: ProtocolVersion) -> Self:
        """Read a body, which has to be empty. Raises MalformedPacketError."""
        check_end(0, len(body))
        return cls()

    def encode(self, _version: ProtocolVersion) -> bytes:
        """Return the packet, the same in every version."""
        return frame(first_byte(self.packet_type), b"")


@dataclass(slots=True)
class Pingreq(_Ping):
    """The client is alive and asks whether the server is."""

    packet_type: ClassVar[PacketType] = PacketType.PINGREQ


@dataclass(slots=True)
class Pingresp(_Ping):
    """The server is."""

    packet_type: ClassVar[PacketType] = PacketType.PINGRESP
