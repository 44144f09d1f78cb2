"""Any control packet: which class reads it, and how one is made to fit the receiver (MQTT 5.0 §2.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from broker.wire.auth import Auth
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.errors import MalformedPacketError
from broker.wire.packet_types import REQUIRED_FLAGS, UNUSED_FLAGS_3_1, PacketType, ProtocolVersion
from broker.wire.ping import Pingreq, Pingresp
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe
from broker.wire.unsuback import Unsuback
from broker.wire.unsubscribe import Unsubscribe

Acknowledgement = Puback | Pubrec | Pubrel | Pubcomp
Packet = (
    Connect
    | Connack
    | Publish
    | Acknowledgement
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
Answer = Connack | Suback | Unsuback | Disconnect
"""A packet in which a server may explain its reason codes."""

Decoder = Callable[[int, bytes, ProtocolVersion], Packet]

_DECODERS: Final[dict[PacketType, Decoder]] = {
    PacketType.CONNECT: Connect.decode,
    PacketType.CONNACK: Connack.decode,
    PacketType.PUBLISH: Publish.decode,
    PacketType.PUBACK: Puback.decode,
    PacketType.PUBREC: Pubrec.decode,
    PacketType.PUBREL: Pubrel.decode,
    PacketType.PUBCOMP: Pubcomp.decode,
    PacketType.SUBSCRIBE: Subscribe.decode,
    PacketType.SUBACK: Suback.decode,
    PacketType.UNSUBSCRIBE: Unsubscribe.decode,
    PacketType.UNSUBACK: Unsuback.decode,
    PacketType.PINGREQ: Pingreq.decode,
    PacketType.PINGRESP: Pingresp.decode,
    PacketType.DISCONNECT: Disconnect.decode,
    PacketType.AUTH: Auth.decode,
}


def _may_begin(first_byte: int, packet_type: PacketType, version: ProtocolVersion) -> bool:
    """Whether a packet of this type may have this first byte in this version."""
    if first_byte >> 4 != packet_type:
        return False
    if packet_type in (
        PacketType.PUBLISH,
        PacketType.CONNECT,
    ):  # they judge their flags; CONNECT names its version first
        return True
    if packet_type is PacketType.AUTH and version is not ProtocolVersion.V5:
        return False
    unused_flags = UNUSED_FLAGS_3_1[packet_type] if version is ProtocolVersion.V3_1 else 0
    return (first_byte & 0x0F ^ REQUIRED_FLAGS[packet_type]) & ~unused_flags == 0


_BY_FIRST_BYTE: Final[dict[ProtocolVersion, dict[int, Decoder]]] = {
    version: {
        first_byte: decode
        for first_byte in range(256)
        for packet_type, decode in _DECODERS.items()
        if _may_begin(first_byte, packet_type, version)
    }
    for version in ProtocolVersion
}
"""Each first byte that a version allows: one look-up checks type and flags of a packet and finds who reads it."""


def decode_packet(first_byte: int, body: bytes, version: ProtocolVersion) -> Packet:
    """Read one packet, as cut by its fixed header. CONNECT names its own version, whatever `version` is.

    Raises WireError: MalformedPacketError, ProtocolViolationError, UnsupportedProtocolVersionError.
    """
    decode = _BY_FIRST_BYTE[version].get(first_byte)
    if decode is None:
        raise MalformedPacketError(
            f"0x{first_byte:02X} begins no packet (type or flags) [v5 MQTT-2.1.3-1], [v3.1.1 MQTT-2.2.2-2]"
        )
    return decode(first_byte & 0x0F, body, version)


_TRIMMED: Final = (frozenset({"user_property"}), frozenset({"user_property", "reason_string"}))
_UNTRIMMABLE: Final = (Connect, Publish, Subscribe, Unsubscribe, Pingreq, Pingresp)


def encode_within(packet: Packet, version: ProtocolVersion, maximum_packet_bytes: int) -> bytes | None:
    """Encode for a receiver that takes at most `maximum_packet_bytes` (its Maximum Packet Size).

    An answer that is too large goes without its user properties, then without its Reason String
    (v5 §3.2.2.3.9, §3.4.2.2.2 and their like); a message's properties are never left out [v5 MQTT-3.3.2-17].
    Returns None for a packet that must not be sent at all [v5 MQTT-3.1.2-24].
    """
    encoded = packet.encode(version)
    if len(encoded) <= maximum_packet_bytes:
        return encoded
    if isinstance(packet, _UNTRIMMABLE):
        return None
    for left_out in _TRIMMED:
        properties = {name: value for name, value in packet.properties.items() if name not in left_out}
        encoded = replace(packet, properties=properties).encode(version)
        if len(encoded) <= maximum_packet_bytes:
            return encoded
    return None
