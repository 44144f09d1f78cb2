"""Properties of MQTT 5.0 (§2.2.2): one table, read and written by the same rows.

    Property Length: variable byte integer | { identifier: variable byte integer | value } …

A packet's properties are a dict by name, empty when there are none. `user_property` is a list of
(name, value) in the order sent; `subscription_identifier` a list of int; all others one value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.wire.errors import MalformedPacketError, PacketTooLargeError, ProtocolViolationError, QuotaExceededError
from broker.wire.packet_types import PacketType
from broker.wire.primitives import (
    encode_binary_data,
    encode_byte,
    encode_four_byte_integer,
    encode_two_byte_integer,
    encode_utf8_string,
    encode_utf8_string_pair,
    encode_variable_byte_integer,
    read_binary_data,
    read_byte,
    read_four_byte_integer,
    read_two_byte_integer,
    read_utf8_string,
    read_utf8_string_pair,
    read_variable_byte_integer,
)
from broker.wire.reason_codes import ReasonCode
from broker.wire.topic_name import check_topic_name

Properties = dict[str, Any]
PropertyPlace = PacketType | Literal["WILL"]
"""Where properties stand: in the variable header of a packet, or before the will in CONNECT's payload."""

Codec = tuple[Callable[[bytes, int, int], tuple[Any, int]], Callable[[Any], bytes]]

_BYTE: Codec = read_byte, encode_byte
_TWO_BYTES: Codec = read_two_byte_integer, encode_two_byte_integer
_FOUR_BYTES: Codec = read_four_byte_integer, encode_four_byte_integer
_VARIABLE: Codec = read_variable_byte_integer, encode_variable_byte_integer
_TEXT: Codec = read_utf8_string, encode_utf8_string
_BINARY: Codec = read_binary_data, encode_binary_data
_PAIR: Codec = read_utf8_string_pair, encode_utf8_string_pair


def _is_flag(value: int) -> bool:
    return value <= 1


def _is_positive(value: int) -> bool:
    return value > 0


def _is_topic_name(value: str) -> bool:
    if value:
        check_topic_name(value)
    return bool(value)


@dataclass(frozen=True, slots=True)
class Property:
    """One row of the table. `is_allowed` judges a value (None: all are good)."""

    identifier: int
    name: str
    codec: Codec
    places: frozenset[PropertyPlace]
    repeatable_in: frozenset[PropertyPlace] = frozenset()
    is_list: bool = False
    is_allowed: Callable[[Any], bool] | None = None
    reason_code: ReasonCode = ReasonCode.PROTOCOL_ERROR


def _in(*places: PropertyPlace) -> frozenset[PropertyPlace]:
    return frozenset(places)


_WILL: Final = "WILL"
_CONNECT, _CONNACK, _PUBLISH = PacketType.CONNECT, PacketType.CONNACK, PacketType.PUBLISH
_DISCONNECT, _AUTH = PacketType.DISCONNECT, PacketType.AUTH
_MESSAGE = _in(_PUBLISH, _WILL)
_OPENING = _in(_CONNECT, _CONNACK)
_AUTHENTICATING = _in(_CONNECT, _CONNACK, _AUTH)
_EVERYWHERE = _in(*(place for place in PacketType if place.name not in ("PINGREQ", "PINGRESP")), _WILL)
_ANSWERING = _EVERYWHERE - _MESSAGE - _in(_CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)

# A property of another packet: §2.2.2.2 calls it malformed, but by §1.2 what parses and holds «data that is not allowed» is
# a Protocol Error, and §4.13.1 lets a server answer either. Clients know the one from requests and the other elsewhere.
_REQUESTS = _in(PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)

TABLE: Final[tuple[Property, ...]] = (
    Property(0x01, "payload_format_indicator", _BYTE, _MESSAGE, is_allowed=_is_flag),
    Property(0x02, "message_expiry_interval", _FOUR_BYTES, _MESSAGE),
    Property(0x03, "content_type", _TEXT, _MESSAGE),
    Property(0x08, "response_topic", _TEXT, _MESSAGE, is_allowed=_is_topic_name),
    Property(0x09, "correlation_data", _BINARY, _MESSAGE),
    Property(
        0x0B,
        "subscription_identifier",
        _VARIABLE,
        _in(_PUBLISH, PacketType.SUBSCRIBE),
        repeatable_in=_in(_PUBLISH),
        is_list=True,
        is_allowed=_is_positive,
    ),
    Property(0x11, "session_expiry_interval", _FOUR_BYTES, _in(_CONNECT, _CONNACK, _DISCONNECT)),
    Property(0x12, "assigned_client_identifier", _TEXT, _in(_CONNACK)),
    Property(0x13, "server_keep_alive", _TWO_BYTES, _in(_CONNACK)),
    Property(0x15, "authentication_method", _TEXT, _AUTHENTICATING),
    Property(0x16, "authentication_data", _BINARY, _AUTHENTICATING),
    Property(0x17, "request_problem_information", _BYTE, _in(_CONNECT), is_allowed=_is_flag),
    Property(0x18, "will_delay_interval", _FOUR_BYTES, _in(_WILL)),
    Property(0x19, "request_response_information", _BYTE, _in(_CONNECT), is_allowed=_is_flag),
    Property(0x1A, "response_information", _TEXT, _in(_CONNACK)),
    Property(0x1C, "server_reference", _TEXT, _in(_CONNACK, _DISCONNECT)),
    Property(0x1F, "reason_string", _TEXT, _ANSWERING),
    Property(0x21, "receive_maximum", _TWO_BYTES, _OPENING, is_allowed=_is_positive),
    Property(0x22, "topic_alias_maximum", _TWO_BYTES, _OPENING),
    Property(  # [v5 MQTT-3.3.2-8]
        0x23,
        "topic_alias",
        _TWO_BYTES,
        _in(_PUBLISH),
        is_allowed=_is_positive,
        reason_code=ReasonCode.TOPIC_ALIAS_INVALID,
    ),
    Property(0x24, "maximum_qos", _BYTE, _in(_CONNACK), is_allowed=_is_flag),
    Property(0x25, "retain_available", _BYTE, _in(_CONNACK), is_allowed=_is_flag),
    Property(0x26, "user_property", _PAIR, _EVERYWHERE, repeatable_in=_EVERYWHERE, is_list=True),
    Property(0x27, "maximum_packet_size", _FOUR_BYTES, _OPENING, is_allowed=_is_positive),
    Property(0x28, "wildcard_subscription_available", _BYTE, _in(_CONNACK), is_allowed=_is_flag),
    Property(0x29, "subscription_identifier_available", _BYTE, _in(_CONNACK), is_allowed=_is_flag),
    Property(0x2A, "shared_subscription_available", _BYTE, _in(_CONNACK), is_allowed=_is_flag),
)

MOST_BYTES: Final = 192 * 1024
"""Of a packet's properties: the three longest texts that a message can have fit. MQTT names no bound (v5 §2.2.2)."""
MOST_PROPERTIES: Final = 1000
"""In one packet: each costs a microsecond and up to 200 bytes, however short it is."""

_BY_IDENTIFIER: Final = {row.identifier: row for row in TABLE}
_BY_NAME: Final = {row.name: row for row in TABLE}


def is_property_of(name: str, place: PropertyPlace) -> bool:
    """Whether the property may stand there."""
    return place in _BY_NAME[name].places


def read_properties(buffer: bytes, position: int, end: int, place: PropertyPlace) -> tuple[Properties, int]:
    """Read the properties of a packet or a will, their length in front.

    Raises MalformedPacketError for a property that is unknown or incomplete, ProtocolViolationError for one that comes
    twice or has a value that is not allowed; one or the other for one that is not allowed at `place` (§2.2.2.2);
    PacketTooLargeError and QuotaExceededError for more of them than is read.
    """
    if position < end and buffer[position] == 0:
        return {}, position + 1  # the usual PUBLISH
    length, position = read_variable_byte_integer(buffer, position, end)
    after = position + length
    if after > end:
        raise MalformedPacketError("the Property Length reaches past the packet (§2.2.2.1)")
    if length > MOST_BYTES:
        raise PacketTooLargeError(f"{length} bytes of properties in one packet; at most {MOST_BYTES} are accepted")
    return _read(buffer, position, after, place, MOST_PROPERTIES), after


def read_stored_properties(stored: bytes) -> Properties:
    """Read the properties of a message as they were accepted once, however many: `encode_properties` made them."""
    if not stored:
        return {}
    _, position = read_variable_byte_integer(stored, 0, len(stored))
    return _read(stored, position, len(stored), _PUBLISH, len(stored))


def _read(buffer: bytes, position: int, after: int, place: PropertyPlace, most: int) -> Properties:
    properties: Properties = {}
    while position < after:
        row, position = _read_identifier(buffer, position, after)
        value, position = row.codec[0](buffer, position, after)
        _keep(properties, row, value, place)
        most -= 1
        if most < 0:
            raise QuotaExceededError(f"more than {MOST_PROPERTIES} properties in one packet")
    return properties


def _read_identifier(buffer: bytes, position: int, end: int) -> tuple[Property, int]:
    identifier, position = read_variable_byte_integer(buffer, position, end)
    row = _BY_IDENTIFIER.get(identifier)
    if row is None:
        raise MalformedPacketError(f"0x{identifier:02X} is no property (§2.2.2.2)")
    return row, position


def _keep(properties: Properties, row: Property, value: Any, place: PropertyPlace) -> None:
    if place not in row.places:
        where = place if isinstance(place, str) else place.name
        error = MalformedPacketError if place in _REQUESTS else ProtocolViolationError
        raise error(f"{row.name} is no property of {where} (§2.2.2.2)")
    if row.is_allowed is not None and not row.is_allowed(value):
        raise ProtocolViolationError(f"{row.name} must not be {value} (v5 §2.2.2.2, §3)", row.reason_code)
    if row.name in properties and place not in row.repeatable_in:
        raise ProtocolViolationError(f"{row.name} stands twice in one packet (v5 §2.2.2.2, §3)")
    if row.is_list:
        properties.setdefault(row.name, []).append(value)
    else:
        properties[row.name] = value


def encode_properties(properties: Properties) -> bytes:
    """Encode properties with their length in front, in their own order [v5 MQTT-3.3.2-18].

    Raises KeyError for a name that is no property.
    """
    if not properties:
        return b"\0"
    encoded = b"".join(_encode_property(_BY_NAME[name], value) for name, value in properties.items())
    return encode_variable_byte_integer(len(encoded)) + encoded


def _encode_property(row: Property, value: Any) -> bytes:
    values = value if row.is_list else (value,)
    encode = row.codec[1]
    return b"".join(encode_byte(row.identifier) + encode(each) for each in values)
