"""Which packets a client may send when, as far as the first byte tells (MQTT 5.0 §4.13, §3.1)."""

from __future__ import annotations

from broker.wire.errors import MalformedPacketError, ProtocolViolationError
from broker.wire.packet_types import PacketType

_OUT_OF_PLACE = frozenset(
    # AUTH: no CONNECT that asks for enhanced authentication is accepted [v5 MQTT-4.12.0-1]
    (0, PacketType.CONNECT, PacketType.CONNACK, PacketType.AUTH)
)
_FROM_SERVERS = frozenset((PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP))


def check_first_byte(first_byte: int, *, is_connected: bool) -> None:
    """Raise WireError for a packet that is out of place, whatever else is wrong with it, before its length is known."""
    packet_type = first_byte >> 4
    if not is_connected:
        if packet_type != PacketType.CONNECT:
            raise ProtocolViolationError("the first packet has to be CONNECT [v5 MQTT-3.1.0-1]")
    elif packet_type in _OUT_OF_PLACE:
        raise ProtocolViolationError(f"type {packet_type}, once connected [v5 MQTT-3.1.0-2], [v5 MQTT-4.13.1-1]")
    elif packet_type in _FROM_SERVERS:
        if first_byte & 0x0F:
            raise MalformedPacketError(f"0x{first_byte:02X}: a reserved bit is set [v5 MQTT-2.1.3-1]")
        raise ProtocolViolationError(f"a client may not send packets of type {packet_type} [v5 MQTT-4.13.1-1]")
