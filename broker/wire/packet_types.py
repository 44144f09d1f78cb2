"""Control packet types, protocol versions and the flags a fixed header has to carry (MQTT 5.0 §2.1)."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class ProtocolVersion(IntEnum):
    """The protocol level byte of CONNECT."""

    V3_1 = 3
    V3_1_1 = 4
    V5 = 5


class PacketType(IntEnum):
    """Bits 7-4 of a packet's first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


_SENT_WITH_QOS_1 = frozenset((PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE))
_FIXED = frozenset(PacketType) - {PacketType.PUBLISH}

REQUIRED_FLAGS: Final[Mapping[PacketType, int]] = MappingProxyType(
    dict.fromkeys(_FIXED, 0b0000) | dict.fromkeys(_SENT_WITH_QOS_1, 0b0010)
)
"""Bits 3-0 of the first byte, the same in every packet of a type; PUBLISH carries DUP, QoS and RETAIN there."""

UNUSED_FLAGS_3_1: Final[Mapping[PacketType, int]] = MappingProxyType(
    dict.fromkeys(_FIXED, 0b1111) | dict.fromkeys(_SENT_WITH_QOS_1, 0b1001)
)
"""Bits that MQTT 3.1 §2.1 calls unused, or DUP on a packet that is sent again: a receiver looks past them."""


def first_byte(packet_type: PacketType) -> int:
    """Return the first byte of a packet that is not PUBLISH: its type and its required flags."""
    return packet_type << 4 | REQUIRED_FLAGS[packet_type]
