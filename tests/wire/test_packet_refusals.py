"""What the specification forbids, statement by statement: the error, its reason code, in each version it holds for."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from packet_examples import ALL, V3_1, V3_1_1, V5

from broker.wire.codec import decode_packet
from broker.wire.connect import Connect
from broker.wire.errors import (
    MalformedPacketError,
    ProtocolViolationError,
    UnsupportedProtocolVersionError,
    WireError,
)
from broker.wire.packet_types import PacketType, ProtocolVersion
from broker.wire.publish import Publish
from broker.wire.subscribe import Subscribe, Subscription

MALFORMED, VIOLATION, UNSUPPORTED = MalformedPacketError, ProtocolViolationError, UnsupportedProtocolVersionError
OASIS = (V3_1_1, V5)


class Refusal(NamedTuple):
    statement: str
    versions: tuple[ProtocolVersion, ...]
    first_byte: int
    body: bytes
    error: type[WireError]


def connect(name: bytes, level: int, flags: int, rest: bytes = b"\x00\x01c") -> bytes:
    """A CONNECT body with Keep Alive 0, in MQTT 5 without properties."""
    properties = b"\x00" if level == 5 else b""
    return len(name).to_bytes(2, "big") + name + bytes((level, flags, 0, 0)) + properties + rest


def mqtt_string(text: str) -> bytes:
    """A UTF-8 Encoded String."""
    return len(text.encode()).to_bytes(2, "big") + text.encode()


REFUSALS = [
    # --- CONNECT; it names its version itself
    Refusal("v5 MQTT-3.1.2-1 name", (V5,), 0x10, connect(b"MQTS", 5, 2), UNSUPPORTED),
    Refusal("v5 MQTT-3.1.2-1 case", (V5,), 0x10, connect(b"mqtt", 5, 2), UNSUPPORTED),
    Refusal("v5 MQTT-3.1.2-2 level 6", (V5,), 0x10, connect(b"MQTT", 6, 2), UNSUPPORTED),
    Refusal("v5 MQTT-3.1.2-2 level 0", (V5,), 0x10, connect(b"MQTT", 0, 2), UNSUPPORTED),
    Refusal("v3.1.1 MQTT-3.1.2-2 MQTT at level 3", (V3_1_1,), 0x10, connect(b"MQTT", 3, 2), UNSUPPORTED),
    Refusal("v3.1.1 MQTT-3.1.2-2 MQIsdp at level 4", (V3_1_1,), 0x10, connect(b"MQIsdp", 4, 2), UNSUPPORTED),
    Refusal("v3.1.1 MQTT-3.1.2-2 bridge bit", (V3_1_1,), 0x10, connect(b"MQTT", 0x84, 2), UNSUPPORTED),
    Refusal("v3.1.1 MQTT-3.1.2-3 reserved flag", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0x03), MALFORMED),
    Refusal("v5 MQTT-3.1.2-3 reserved flag", (V5,), 0x10, connect(b"MQTT", 5, 0x03), MALFORMED),
    Refusal("v5 MQTT-3.1.2-11 will QoS without a will", (V5,), 0x10, connect(b"MQTT", 5, 0x0A), MALFORMED),
    Refusal("v3.1.1 MQTT-3.1.2-13 will QoS without a will", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0x12), MALFORMED),
    Refusal("v3.1.1 MQTT-3.1.2-15 will retain without a will", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0x22), MALFORMED),
    Refusal("v5 MQTT-3.1.2-13 will retain without a will", (V5,), 0x10, connect(b"MQTT", 5, 0x22), MALFORMED),
    *(
        Refusal(f"{statement} will QoS 3", (version,), 0x10, connect(name, version, 0x1E, rest), MALFORMED)
        for statement, version, name, rest in (
            ("v3.1 §3.1", V3_1, b"MQIsdp", b"\x00\x01c\x00\x01w\x00\x00"),
            ("v3.1.1 MQTT-3.1.2-14", V3_1_1, b"MQTT", b"\x00\x01c\x00\x01w\x00\x00"),
            ("v5 MQTT-3.1.2-12", V5, b"MQTT", b"\x00\x01c\x00\x00\x01w\x00\x00"),
        )
    ),
    Refusal(
        "v3.1.1 MQTT-3.1.2-22 password alone", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0x42, b"\0\x01c\0\x01p"), VIOLATION
    ),
    Refusal("v3.1 password alone", (V3_1,), 0x10, connect(b"MQIsdp", 3, 0x42, b"\x00\x01c\x00\x01p"), VIOLATION),
    Refusal("v3.1.1 MQTT-3.1.2-19 no user name", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0x82), MALFORMED),
    Refusal("v3.1.1 MQTT-3.1.2-21 no password", (V3_1_1,), 0x10, connect(b"MQTT", 4, 0xC2, b"\0\1c\0\1u"), MALFORMED),
    Refusal("v5 MQTT-3.1.2-17 no user name", (V5,), 0x10, connect(b"MQTT", 5, 0x82), MALFORMED),
    Refusal(
        "v3.1.1 MQTT-3.1.2-18 user name without its flag",
        (V3_1_1,),
        0x10,
        connect(b"MQTT", 4, 2, b"\0\1c\0\1u"),
        MALFORMED,
    ),
    Refusal("v5 MQTT-4.7.1-1 will topic", (V5,), 0x10, connect(b"MQTT", 5, 6, b"\0\1c\0\0\1#\0\0"), MALFORMED),
    Refusal("v3.1.1 MQTT-4.7.3-1 will topic", (V3_1_1,), 0x10, connect(b"MQTT", 4, 6, b"\0\1c\0\0\0\0"), MALFORMED),
    Refusal("v5 §3.1.2.11.10 data without method", (V5,), 0x10, b"\0\4MQTT\5\2\0\0\x04\x16\0\1x\0\1c", VIOLATION),
    Refusal(
        "v5 §2.2.2.2 will delay among CONNECT's own", (V5,), 0x10, b"\0\4MQTT\5\2\0\0\5\x18\0\0\0\1\0\1c", VIOLATION
    ),
    # --- fixed header
    Refusal("MQTT-2.1.3-1 type 0", ALL, 0x00, b"", MALFORMED),
    Refusal("MQTT-2.1.3-1 CONNECT", ALL, 0x11, connect(b"MQTT", 4, 2), MALFORMED),
    *(
        Refusal(f"MQTT-2.1.3-1 0x{first_byte:02X}", OASIS, first_byte, b"\x00\x01", MALFORMED)
        for first_byte in (0x21, 0x48, 0x52, 0x60, 0x6A, 0x72, 0x91, 0xB2, 0xC8, 0xD1, 0xE4)
    ),
    Refusal("MQTT-3.8.1-1", ALL, 0x80, b"\x00\x01\x00\x01a\x00", MALFORMED),
    Refusal("MQTT-3.10.1-1", ALL, 0xA4, b"\x00\x01\x00\x01a", MALFORMED),
    Refusal("v5 MQTT-3.15.1-1", (V5,), 0xF1, b"", MALFORMED),
    Refusal("v3.1.1 §2.2.1 type 15", (V3_1, V3_1_1), 0xF0, b"", MALFORMED),
    # --- PUBLISH
    Refusal("MQTT-3.3.1-2 DUP with QoS 0", OASIS, 0x38, b"\x00\x01a\x00", MALFORMED),
    Refusal("MQTT-3.3.1-4 QoS 3", ALL, 0x36, b"\x00\x01a\x00\x01\x00", MALFORMED),
    Refusal("MQTT-3.3.1-4 QoS 3 with DUP", ALL, 0x3E, b"\x00\x01a\x00\x01\x00", MALFORMED),
    Refusal("MQTT-3.3.2-2 #", ALL, 0x30, b"\x00\x03a/#\x00", MALFORMED),
    Refusal("MQTT-3.3.2-2 +", ALL, 0x30, b"\x00\x01+\x00", MALFORMED),
    Refusal("MQTT-1.5.4-2", ALL, 0x30, b"\x00\x01\x00\x00", MALFORMED),
    Refusal("MQTT-1.5.4-1", ALL, 0x30, b"\x00\x03\xed\xa0\x80\x00", MALFORMED),
    Refusal("MQTT-2.2.1-3", ALL, 0x32, b"\x00\x01a\x00\x00\x00", VIOLATION),
    Refusal("MQTT-4.7.3-1, v5 §3.3.2.1", ALL, 0x30, b"\x00\x00\x00", MALFORMED),
    *(
        Refusal(f"§1.5.4 U+{ord(each):04X}", ALL, 0x30, mqtt_string(f"a{each}b") + b"\0", MALFORMED)
        for each in "\x01\x1f\x7f\x9f"
    ),
    # --- acknowledgements
    *(
        Refusal(f"MQTT-2.2.1-3 0x{first_byte:02X}", ALL, first_byte, b"\x00\x00", VIOLATION)
        for first_byte in (0x40, 0x50, 0x62, 0x70)
    ),
    Refusal("v5 MQTT-3.4.2-1", (V5,), 0x40, b"\x00\x01\x92", VIOLATION),
    Refusal("v5 MQTT-3.5.2-1", (V5,), 0x50, b"\x00\x01\x01", VIOLATION),
    Refusal("v5 MQTT-3.6.2-1", (V5,), 0x62, b"\x00\x01\x80", VIOLATION),
    Refusal("v5 MQTT-3.7.2-1", (V5,), 0x70, b"\x00\x01\x10", VIOLATION),
    Refusal("v3.1.1 §3.4 reason code", (V3_1, V3_1_1), 0x40, b"\x00\x01\x00", MALFORMED),
    # --- SUBSCRIBE, UNSUBSCRIBE
    Refusal("v3.1.1 MQTT-3.8.3-3", (V3_1, V3_1_1), 0x82, b"\x00\x01", MALFORMED),
    Refusal("v5 MQTT-3.8.3-2", (V5,), 0x82, b"\x00\x01\x00", MALFORMED),
    Refusal("MQTT-2.2.1-3 SUBSCRIBE", ALL, 0x82, b"\x00\x00\x00\x00\x01a\x00", MALFORMED),
    Refusal("v3.1.1 MQTT-3-8.3-4 reserved bits", (V3_1_1,), 0x82, b"\x00\x01\x00\x01a\x04", MALFORMED),
    Refusal("v5 MQTT-3.8.3-5 reserved bits", (V5,), 0x82, b"\x00\x01\x00\x00\x01a\x40", MALFORMED),
    Refusal("v3.1.1 MQTT-3-8.3-4 QoS 3", (V3_1, V3_1_1), 0x82, b"\x00\x01\x00\x01a\x03", MALFORMED),
    Refusal("v5 §3.8.3.1 QoS 3", (V5,), 0x82, b"\x00\x01\x00\x00\x01a\x03", MALFORMED),
    Refusal("v5 §3.8.3.1 Retain Handling 3", (V5,), 0x82, b"\x00\x01\x00\x00\x01a\x30", MALFORMED),
    Refusal("v5 MQTT-3.8.3-4", (V5,), 0x82, b"\x00\x01\x00\x00\x0a$share/g/t\x04", VIOLATION),
    Refusal("v5 §3.8.2.1.2 two identifiers", (V5,), 0x82, b"\0\1\4\x0b\1\x0b\2\0\1a\0", VIOLATION),
    Refusal("v3.1.1 MQTT-3.10.3-2", (V3_1, V3_1_1), 0xA2, b"\x00\x01", MALFORMED),
    Refusal("v5 MQTT-3.10.3-2", (V5,), 0xA2, b"\x00\x01\x00", MALFORMED),
    Refusal("MQTT-2.2.1-3 UNSUBSCRIBE", ALL, 0xA2, b"\x00\x00\x00\x00\x01a", MALFORMED),
    Refusal("v3.1.1 MQTT-4.7.3-1 filter", (V3_1, V3_1_1), 0x82, b"\0\1\0\0\0", MALFORMED),
    Refusal("v5 MQTT-4.7.3-1 filter", (V5,), 0xA2, b"\0\1\0\0\1a\0\0", MALFORMED),
    *(
        Refusal(f"{statement} {each}", (version,), 0x82, head + mqtt_string(each) + b"\0", MALFORMED)
        for each, number, number_3 in (
            ("a/#/b", "4.7.1-1", "4.7.1-2"),
            ("a#", "4.7.1-1", "4.7.1-2"),
            ("a/+b", "4.7.1-2", "4.7.1-3"),
            ("$share/g/+b", "4.7.1-2", "4.7.1-3"),
            ("a\x85", "1.5.4", "1.5.3"),
        )
        for version, statement, head in (
            (V5, f"v5 MQTT-{number}", b"\0\1\0"),
            (V3_1_1, f"v3.1.1 MQTT-{number_3}", b"\0\1"),
        )
    ),
    # --- DISCONNECT, AUTH, PINGREQ
    Refusal("v5 MQTT-3.14.2-1", (V5,), 0xE0, b"\x01", VIOLATION),
    Refusal("v3.1.1 §3.14 body", (V3_1, V3_1_1), 0xE0, b"\x00", MALFORMED),
    Refusal("v5 MQTT-3.15.2-1", (V5,), 0xF0, b"\x01\x00", VIOLATION),
    Refusal("v5 §3.15.2 no Property Length", (V5,), 0xF0, b"\x18", MALFORMED),
    Refusal("§3.12 body", ALL, 0xC0, b"\x00", MALFORMED),
    # --- what a server sends
    Refusal("v5 MQTT-3.2.2-1", (V5,), 0x20, b"\x02\x00\x00", MALFORMED),
    Refusal("v3.1.1 MQTT-3.2.2-4", (V3_1_1,), 0x20, b"\x01\x05", VIOLATION),
    Refusal("v5 MQTT-3.2.2-6", (V5,), 0x20, b"\x01\x87\x00", VIOLATION),
    Refusal("v5 MQTT-3.2.2-8", (V5,), 0x20, b"\x00\x05\x00", VIOLATION),
    Refusal("v3.1.1 §3.2.2.3 return code 6", (V3_1, V3_1_1), 0x20, b"\x00\x06", VIOLATION),
    Refusal("v3.1.1 MQTT-3.9.3-2", (V3_1, V3_1_1), 0x90, b"\x00\x01\x03", VIOLATION),
    Refusal("v3.1 §3.9 has no refusal", (V3_1,), 0x90, b"\x00\x01\x80", VIOLATION),
    Refusal("v5 MQTT-3.9.3-2", (V5,), 0x90, b"\x00\x01\x00\x03", VIOLATION),
    Refusal("v5 MQTT-3.11.3-2", (V5,), 0xB0, b"\x00\x01\x00\x01", VIOLATION),
]


@pytest.mark.parametrize(
    ("refusal", "version"),
    [
        pytest.param(refusal, version, id=f"{version.name}-{refusal.statement}")
        for refusal in REFUSALS
        for version in refusal.versions
    ],
)
def test_refused(refusal: Refusal, version: ProtocolVersion) -> None:
    with pytest.raises(WireError) as raised:
        decode_packet(refusal.first_byte, refusal.body, version)
    assert type(raised.value) is refusal.error
    assert raised.value.reason_code is refusal.error.default_reason_code
    assert "§" in str(raised.value) or "MQTT-" in str(raised.value) or "ends inside" in str(raised.value)


def test_v3_1_connect_may_lack_what_its_flags_announce() -> None:
    """v3.1 §3.1: the Remaining Length takes precedence over the User Name and Password flags."""
    without_both = decode_packet(0x10, connect(b"MQIsdp", 3, 0xC2), V3_1)
    assert without_both == Connect(V3_1, "c")
    without_password = decode_packet(0x10, connect(b"MQIsdp", 3, 0xC2, b"\x00\x01c\x00\x01u"), V3_1)
    assert without_password == Connect(V3_1, "c", username="u")


def test_v3_1_connect_disregards_unused_bits() -> None:
    """v3.1 §3.1: bit 0 is not used; Will QoS and Will RETAIN mean nothing without a will."""
    assert decode_packet(0x10, connect(b"MQIsdp", 3, 0x3B), V3_1) == Connect(V3_1, "c")


@pytest.mark.parametrize(
    ("first_byte", "body"),
    [
        (0x14, connect(b"MQIsdp", 3, 2)),
        (0x4F, b"\0\1"),
        (0x6A, b"\0\1"),
        (0x8B, b"\0\1\0\1a\0"),
        (0xAA, b"\0\1\0\1a"),
        (0xCF, b""),
        (0xEF, b""),
    ],
)
def test_v3_1_disregards_unused_flags_of_the_fixed_header(first_byte: int, body: bytes) -> None:
    """v3.1 §2.1: DUP marks PUBREL, SUBSCRIBE and UNSUBSCRIBE sent again; elsewhere the flags are not used."""
    assert decode_packet(first_byte, body, V3_1).packet_type == first_byte >> 4
    with pytest.raises(MalformedPacketError):
        decode_packet(first_byte, body.replace(b"\x06MQIsdp\x03", b"\x04MQTT\x04"), V3_1_1)


def test_v3_1_disregards_dup_with_qos_0_and_bits_above_the_requested_qos() -> None:
    assert decode_packet(0x38, b"\x00\x01ax", V3_1) == Publish("a", b"x")
    assert decode_packet(0x82, b"\x00\x01\x00\x01a\xfd", V3_1) == Subscribe(1, [Subscription("a", 1)])


def test_v5_connect_may_have_a_password_alone() -> None:
    """v5 §3.1.2.9: unlike MQTT 3.1.1."""
    packet = decode_packet(0x10, connect(b"MQTT", 5, 0x42, b"\x00\x01c\x00\x01p"), V5)
    assert packet == Connect(V5, "c", password=b"p")


@pytest.mark.parametrize("version", ALL, ids=lambda version: version.name)
def test_connect_is_read_whatever_version_is_assumed(version: ProtocolVersion) -> None:
    packet = decode_packet(0x10, connect(b"MQTT", 5, 0x02), version)
    assert packet == Connect(V5, "c")
    assert packet.packet_type is PacketType.CONNECT


def test_a_long_protocol_name_is_not_quoted_whole() -> None:
    with pytest.raises(UnsupportedProtocolVersionError) as raised:
        decode_packet(0x10, connect(b"x" * 5000, 4, 2), V3_1_1)
    assert len(str(raised.value)) < 200


V5_HEAD = b"\0\4MQTT\5"
ANSWERED = {
    "the other 3.x name [v3.1.1 MQTT-3.1.2-2]": (connect(b"MQIsdp", 4, 2), b"\x20\x02\x00\x01"),
    "a bridge's level": (connect(b"MQTT", 0x84, 2), b"\x20\x02\x00\x01"),
    "level 6 [v5 MQTT-3.1.2-2]": (connect(b"MQTT", 6, 2), b"\x20\x03\x00\x84\x00"),
    "level 2 [v5 MQTT-3.1.2-2]": (connect(b"MQIsdp", 2, 2), b"\x20\x03\x00\x84\x00"),
    "another protocol [v3.1.1 MQTT-3.1.2-1]": (connect(b"HTTP", 4, 2), b""),
    "a property twice": (V5_HEAD + b"\2\0\0\6\x21\0\1\x21\0\1\0\1c", b"\x20\x03\x00\x82\x00"),
    "a property cut": (V5_HEAD + b"\2\0\0\2\x21\0\0\1c", b"\x20\x03\x00\x81\x00"),
    "a client id with U+0001 [v5 MQTT-3.1.3-8]": (connect(b"MQTT", 5, 2, b"\0\1\1"), b"\x20\x03\x00\x85\x00"),
    "the same in MQTT 3.1.1": (connect(b"MQTT", 4, 2, b"\0\1\1"), b""),
    "no will": (connect(b"MQTT", 5, 6), b"\x20\x03\x00\x81\x00"),
    "bytes behind the payload": (connect(b"MQTT", 5, 2, b"\0\1cx"), b"\x20\x03\x00\x81\x00"),
    "will QoS 3": (connect(b"MQTT", 5, 0x1E, b"\0\1c\0\0\1w\0\0"), b""),
    "no user name": (connect(b"MQTT", 5, 0x82), b""),
}


@pytest.mark.parametrize(("body", "connack"), ANSWERED.values(), ids=ANSWERED)
def test_what_a_refused_connect_is_answered(body: bytes, connack: bytes) -> None:
    """v5 §4.13.1: a server may send CONNACK before it closes; every client gets one it can read, or none."""
    with pytest.raises(WireError) as raised:
        decode_packet(0x10, body, V3_1_1)
    assert raised.value.connack == connack


@pytest.mark.parametrize("character", ["\x01", "\x1f", "\x7f", "\x9f"])
def test_control_characters_are_let_through_where_nothing_is_named(character: str) -> None:
    """v5 §1.5.4 leaves it open: they are refused in names of clients, users and topics alone."""
    packet = Publish(
        "a", character.encode(), properties={"content_type": character, "user_property": [("k", character)]}
    )
    encoded = packet.encode(V5)
    assert decode_packet(encoded[0], encoded[2:], V5) == packet
