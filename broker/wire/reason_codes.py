"""Reason codes of MQTT 5.0 (§2.4), which packet may carry which, and what MQTT 3.x says instead."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from broker.wire.packet_types import PacketType

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReasonCode(IntEnum):
    """A reason code; 0x80 and above are failures. Names that share a value are aliases, as in the specification."""

    SUCCESS = 0x00
    NORMAL_DISCONNECTION = 0x00
    GRANTED_QOS_0 = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL_MESSAGE = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


FAILURE: Final = 0x80
"""Reason codes from here on are failures; in SUBACK of MQTT 3.1.1 this is the only one [v3.1.1 MQTT-3.9.3-2]."""

_PUBLISH_CODES = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_RELEASE_CODES = frozenset((0x00, 0x92))

REASON_CODES_OF: Final[Mapping[PacketType, frozenset[int]]] = MappingProxyType(
    {
        PacketType.CONNACK: frozenset((0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F)),
        PacketType.PUBACK: _PUBLISH_CODES,
        PacketType.PUBREC: _PUBLISH_CODES,
        PacketType.PUBREL: _RELEASE_CODES,
        PacketType.PUBCOMP: _RELEASE_CODES,
        PacketType.SUBACK: frozenset((0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)),
        PacketType.UNSUBACK: frozenset((0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91)),
        PacketType.DISCONNECT: frozenset(
            (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, *range(0x8B, 0x91), *range(0x93, 0xA3))
        ),
        PacketType.AUTH: frozenset((0x00, 0x18, 0x19)),
    }
)
"""The reason codes each packet may carry (the tables of MQTT 5.0 §3)."""

_REFUSED_VERSION, _REFUSED_CLIENT_ID, _REFUSED_UNAVAILABLE, _REFUSED_CREDENTIALS, _REFUSED_NOT_AUTHORIZED = range(1, 6)

CONNACK_RETURN_CODES: Final[Mapping[ReasonCode, int]] = MappingProxyType(
    {
        ReasonCode.SUCCESS: 0,
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: _REFUSED_VERSION,
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: _REFUSED_CLIENT_ID,
        ReasonCode.UNSPECIFIED_ERROR: _REFUSED_UNAVAILABLE,
        ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR: _REFUSED_UNAVAILABLE,
        ReasonCode.SERVER_UNAVAILABLE: _REFUSED_UNAVAILABLE,
        ReasonCode.SERVER_BUSY: _REFUSED_UNAVAILABLE,
        ReasonCode.QUOTA_EXCEEDED: _REFUSED_UNAVAILABLE,
        ReasonCode.USE_ANOTHER_SERVER: _REFUSED_UNAVAILABLE,
        ReasonCode.SERVER_MOVED: _REFUSED_UNAVAILABLE,
        ReasonCode.CONNECTION_RATE_EXCEEDED: _REFUSED_UNAVAILABLE,
        ReasonCode.BAD_USER_NAME_OR_PASSWORD: _REFUSED_CREDENTIALS,
        ReasonCode.NOT_AUTHORIZED: _REFUSED_NOT_AUTHORIZED,
        ReasonCode.BANNED: _REFUSED_NOT_AUTHORIZED,
    }
)
"""CONNACK return code of MQTT 3.x (MQTT 3.1.1 §3.2.2.3) that says most nearly what a reason code says.

A reason code that is not here has none: close without CONNACK [v3.1.1 MQTT-3.2.2-6].
"""
