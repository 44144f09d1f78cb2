"""CONNECT: a client asks for a connection (MQTT 5.0 §3.1, MQTT 3.1.1 §3.1, MQTT 3.1 §3.1).

Whether the client identifier and the credentials are good is not judged here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from broker.wire.connack import Connack
from broker.wire.errors import (
    MalformedPacketError,
    ProtocolViolationError,
    UnsupportedProtocolVersionError,
    WireError,
)
from broker.wire.framing import frame
from broker.wire.packet_types import PacketType, ProtocolVersion, first_byte
from broker.wire.primitives import (
    check_end,
    encode_binary_data,
    encode_two_byte_integer,
    encode_utf8_string,
    read_binary_data,
    read_byte,
    read_name,
    read_two_byte_integer,
    read_utf8_string,
)
from broker.wire.properties import Properties, encode_properties, read_properties
from broker.wire.reason_codes import ReasonCode
from broker.wire.topic_name import check_topic_name

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL_NAMES: Final = {
    ProtocolVersion.V3_1: "MQIsdp",
    ProtocolVersion.V3_1_1: "MQTT",
    ProtocolVersion.V5: "MQTT",
}
_VERSIONS: Final = {(name, int(version)): version for version, name in PROTOCOL_NAMES.items()}
_LEVELS_3: Final = frozenset((ProtocolVersion.V3_1, ProtocolVersion.V3_1_1))
_BRIDGE_BIT: Final = 0x80
_UNACCEPTABLE_LEVEL: Final = Connack(False, 1).encode(ProtocolVersion.V3_1_1)
_UNSUPPORTED_VERSION: Final = Connack(False, ReasonCode.UNSUPPORTED_PROTOCOL_VERSION).encode(ProtocolVersion.V5)

_RESERVED_FLAG, _CLEAN_START_FLAG, _WILL_FLAG, _WILL_RETAIN_FLAG = 0x01, 0x02, 0x04, 0x20
_PASSWORD_FLAG, _USERNAME_FLAG = 0x40, 0x80
_WILL_QOS_SHIFT, _WILL_QOS_MASK = 3, 0x18


@dataclass(slots=True)
class Will:
    """The message a server publishes when the connection ends without DISCONNECT (v5 §3.1.2.5)."""

    topic_name: str
    payload: bytes
    qos: int = 0
    is_retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(slots=True)
class Connect:
    """A CONNECT packet. `clean_start` is Clean Session in MQTT 3.x; `keep_alive` in seconds, 0 for none.

    `username` and `password` are None when absent; `properties` is empty before MQTT 5.
    """

    packet_type: ClassVar[PacketType] = PacketType.CONNECT

    protocol_version: ProtocolVersion
    client_id: str
    clean_start: bool = True
    keep_alive: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    properties: Properties = field(default_factory=dict)

    @classmethod
    def decode(cls, flags: int, body: bytes, _version: ProtocolVersion) -> Connect:
        """Read a body. The version is the one it names itself; the argument is not looked at.

        Raises UnsupportedProtocolVersionError, MalformedPacketError, ProtocolViolationError. `connack` of the error holds
        what an MQTT 5 client is told, which the specification leaves open (v5 §4.13.1): what is wrong with properties,
        client identifier, will or length; nothing of flags that contradict each other or of credentials.
        """
        end = len(body)
        version, position = _read_version(body, end)
        connect_flags, position = read_byte(body, position, end)
        _check_flags(flags, connect_flags, version)
        keep_alive, position = read_two_byte_integer(body, position, end)
        properties: Properties = {}
        with _answering(version):
            if version is ProtocolVersion.V5:
                properties, position = read_properties(body, position, end, PacketType.CONNECT)
                _check_authentication(properties)
            client_id, position = _read_client_id(body, position, end)
            will, position = _read_will(body, position, end, connect_flags, version)
        username, password, position = _read_credentials(body, position, end, connect_flags, version)
        with _answering(version):
            check_end(position, end)
        clean_start = bool(connect_flags & _CLEAN_START_FLAG)
        return cls(version, client_id, clean_start, keep_alive, will, username, password, properties)

    def encode(self, _version: ProtocolVersion | None = None) -> bytes:
        """Return the packet in the version it names itself; the argument is not looked at."""
        version = self.protocol_version
        parts = [
            encode_utf8_string(PROTOCOL_NAMES[version]),
            bytes((version, self._connect_flags())),
            encode_two_byte_integer(self.keep_alive),
            encode_properties(self.properties) if version is ProtocolVersion.V5 else b"",
            encode_utf8_string(self.client_id),
            b"" if self.will is None else _encode_will(self.will, version),
            b"" if self.username is None else encode_utf8_string(self.username),
            b"" if self.password is None else encode_binary_data(self.password),
        ]
        return frame(first_byte(PacketType.CONNECT), b"".join(parts))

    def _connect_flags(self) -> int:
        flags = self.clean_start and _CLEAN_START_FLAG
        if self.will is not None:
            flags |= _WILL_FLAG | self.will.qos << _WILL_QOS_SHIFT | (self.will.is_retain and _WILL_RETAIN_FLAG)
        if self.username is not None:
            flags |= _USERNAME_FLAG
        if self.password is not None:
            flags |= _PASSWORD_FLAG
        return flags


def _read_version(body: bytes, end: int) -> tuple[ProtocolVersion, int]:
    protocol_name, position = read_utf8_string(body, 0, end)
    level, position = read_byte(body, position, end)
    version = _VERSIONS.get((protocol_name, level))
    if version is None:
        error = UnsupportedProtocolVersionError(
            f"protocol {protocol_name[:16]!r}, level {level} is not served [v5 MQTT-3.1.2-1], [v5 MQTT-3.1.2-2]"
        )
        error.connack = _unsupported(protocol_name, level)
        raise error
    return version, position


def _unsupported(protocol_name: str, level: int) -> bytes:
    if protocol_name not in PROTOCOL_NAMES.values():
        return b""  # [v3.1.1 MQTT-3.1.2-1]: what speaks another protocol cannot read CONNACK
    if level & ~_BRIDGE_BIT in _LEVELS_3:  # a name of the other 3.x, or a bridge, which tries again without its bit
        return _UNACCEPTABLE_LEVEL  # [v3.1.1 MQTT-3.1.2-2]
    return _UNSUPPORTED_VERSION  # [v5 MQTT-3.1.2-2]


@contextmanager
def _answering(version: ProtocolVersion) -> Iterator[None]:
    try:
        yield
    except WireError as error:
        if version is ProtocolVersion.V5:
            error.connack = Connack(False, error.reason_code).encode(version)
        raise


def _read_client_id(body: bytes, position: int, end: int) -> tuple[str, int]:
    try:
        return read_name(body, position, end)
    except MalformedPacketError as error:
        error.reason_code = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID  # [v5 MQTT-3.1.3-8]
        raise


def _check_flags(fixed_header_flags: int, flags: int, version: ProtocolVersion) -> None:
    if fixed_header_flags and version is not ProtocolVersion.V3_1:
        raise MalformedPacketError("CONNECT: a reserved bit of the fixed header is set [v5 MQTT-2.1.3-1]")
    if flags & _PASSWORD_FLAG and not flags & _USERNAME_FLAG and version is not ProtocolVersion.V5:
        raise ProtocolViolationError("CONNECT has a password and no user name [v3.1.1 MQTT-3.1.2-22]")
    if flags & _WILL_FLAG and flags & _WILL_QOS_MASK == _WILL_QOS_MASK:
        raise MalformedPacketError("CONNECT: Will QoS is 3 [v5 MQTT-3.1.2-12], [v3.1.1 MQTT-3.1.2-14]")
    if version is ProtocolVersion.V3_1:
        return  # v3.1 §3.1: bit 0 is not used, and without a will its QoS and RETAIN are disregarded
    if flags & _RESERVED_FLAG:
        raise MalformedPacketError("CONNECT: the reserved flag is set [v5 MQTT-3.1.2-3], [v3.1.1 MQTT-3.1.2-3]")
    if not flags & _WILL_FLAG and flags & (_WILL_QOS_MASK | _WILL_RETAIN_FLAG):
        raise MalformedPacketError("CONNECT: Will QoS or Will Retain without a will [v5 MQTT-3.1.2-11, -13]")


def _check_authentication(properties: Properties) -> None:
    if "authentication_data" in properties and "authentication_method" not in properties:
        raise ProtocolViolationError("authentication_data without authentication_method (v5 §3.1.2.11.10)")


def _read_will(body: bytes, position: int, end: int, flags: int, version: ProtocolVersion) -> tuple[Will | None, int]:
    if not flags & _WILL_FLAG:
        return None, position
    properties: Properties = {}
    if version is ProtocolVersion.V5:
        properties, position = read_properties(body, position, end, "WILL")
    topic_name, position = read_utf8_string(body, position, end)
    check_topic_name(topic_name)
    payload, position = read_binary_data(body, position, end)
    qos = (flags & _WILL_QOS_MASK) >> _WILL_QOS_SHIFT
    return Will(topic_name, payload, qos, bool(flags & _WILL_RETAIN_FLAG), properties), position


def _encode_will(will: Will, version: ProtocolVersion) -> bytes:
    properties = encode_properties(will.properties) if version is ProtocolVersion.V5 else b""
    return properties + encode_utf8_string(will.topic_name) + encode_binary_data(will.payload)


def _read_credentials(
    body: bytes, position: int, end: int, flags: int, version: ProtocolVersion
) -> tuple[str | None, bytes | None, int]:

    def is_next(flag: int) -> bool:
        # v3.1 §3.1: the Remaining Length takes precedence over the User Name and Password flags
        return bool(flags & flag) and not (version is ProtocolVersion.V3_1 and position == end)

    username = password = None
    if is_next(_USERNAME_FLAG):
        username, position = read_name(body, position, end)
    if is_next(_PASSWORD_FLAG):
        password, position = read_binary_data(body, position, end)
    return username, password, position
