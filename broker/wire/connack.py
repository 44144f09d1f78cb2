"""CONNACK: the server's answer to CONNECT (MQTT 5.0 §3.2, MQTT 3.1.1 §3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from broker.wire.errors import MalformedPacketError, ProtocolViolationError
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import check_end, read_byte
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import REASON_CODES_OF

_SESSION_PRESENT: Final = 0x01
_RETURN_CODES: Final = frozenset(range(6))


@dataclass(slots=True)
class Connack:
    """A CONNACK packet. `reason_code` is a CONNACK return code before MQTT 5 (see CONNACK_RETURN_CODES)."""

    packet_type: ClassVar[PacketType] = PacketType.CONNACK

    is_session_present: bool = False
    reason_code: int = 0
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, _flags: int, body: bytes, version: ProtocolVersion) -> Connack:
        """Read a body. Raises MalformedPacketError, ProtocolViolationError."""
        end = len(body)
        acknowledge_flags, position = read_byte(body, 0, end)
        reason_code, position = read_byte(body, position, end)
        properties: Properties = {}
        if version is ProtocolVersion.V5:
            properties, position = read_properties(body, position, end, PacketType.CONNACK)
        check_end(position, end)
        is_session_present = _is_session_present(acknowledge_flags, version)
        _check_reason_code(reason_code, is_session_present, version)
        return cls(is_session_present, reason_code, properties)

    def encode(self, version: ProtocolVersion) -> bytes:
        """Return the packet; MQTT 3.1 has no room for `is_session_present`."""
        flags = _SESSION_PRESENT if self.is_session_present and version is not ProtocolVersion.V3_1 else 0
        properties = encode_properties(self.properties) if version is ProtocolVersion.V5 else b""
        return frame(first_byte(PacketType.CONNACK), bytes((flags, self.reason_code)) + properties)


def _is_session_present(acknowledge_flags: int, version: ProtocolVersion) -> bool:
    if version is ProtocolVersion.V3_1:  # v3.1 §3.2: the byte is reserved and not used
        return False
    if acknowledge_flags & ~_SESSION_PRESENT:
        raise MalformedPacketError("CONNACK: a reserved acknowledge flag is set [v5 MQTT-3.2.2-1]")
    return bool(acknowledge_flags)


def _check_reason_code(reason_code: int, is_session_present: bool, version: ProtocolVersion) -> None:
    known = REASON_CODES_OF[PacketType.CONNACK] if version is ProtocolVersion.V5 else _RETURN_CODES
    if reason_code not in known:
        raise ProtocolViolationError(f"CONNACK: 0x{reason_code:02X} is no code of it [v5 MQTT-3.2.2-8]")
    if reason_code and is_session_present:
        raise ProtocolViolationError("CONNACK: Session Present in a refusal [v5 MQTT-3.2.2-6], [v3.1.1 MQTT-3.2.2-4]")
