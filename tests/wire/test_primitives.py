"""Data representations: every value there and back, every cut and every ill-formed string refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.wire import primitives
from broker.wire.errors import MalformedPacketError, ProtocolViolationError

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = [
    ("byte", 0, b"\x00"),
    ("byte", 255, b"\xff"),
    ("two_byte_integer", 258, b"\x01\x02"),
    ("four_byte_integer", 4_294_967_295, b"\xff\xff\xff\xff"),
    ("variable_byte_integer", 0, b"\x00"),
    ("variable_byte_integer", 127, b"\x7f"),
    ("variable_byte_integer", 128, b"\x80\x01"),
    ("variable_byte_integer", 16_383, b"\xff\x7f"),
    ("variable_byte_integer", 16_384, b"\x80\x80\x01"),
    ("variable_byte_integer", 2_097_151, b"\xff\xff\x7f"),
    ("variable_byte_integer", 2_097_152, b"\x80\x80\x80\x01"),
    ("variable_byte_integer", 268_435_455, b"\xff\xff\xff\x7f"),
    ("binary_data", b"\x00\xff", b"\x00\x02\x00\xff"),
    ("utf8_string", "A\U0002a6d4", b"\x00\x05A\xf0\xaa\x9b\x94"),
    ("utf8_string_pair", ("", "x"), b"\x00\x00\x00\x01x"),
]


def codec(kind: str) -> tuple[Callable[[bytes, int, int], tuple[Any, int]], Callable[[Any], bytes]]:
    return getattr(primitives, f"read_{kind}"), getattr(primitives, f"encode_{kind}")


@pytest.mark.parametrize(("kind", "value", "encoded"), VALUES)
def test_value_there_and_back(kind: str, value: Any, encoded: bytes) -> None:
    read, encode = codec(kind)
    assert encode(value) == encoded
    assert read(b"?" + encoded + b"?", 1, 1 + len(encoded)) == (value, 1 + len(encoded))


@pytest.mark.parametrize(("kind", "value", "encoded"), VALUES)
def test_nothing_is_read_past_the_end(kind: str, value: Any, encoded: bytes) -> None:
    read, _ = codec(kind)
    for end in range(len(encoded)):
        with pytest.raises(MalformedPacketError):
            read(encoded, 0, end)  # the bytes are there, but behind the end


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("byte", 256),
        ("two_byte_integer", 65_536),
        ("four_byte_integer", -1),
        ("variable_byte_integer", 268_435_456),
        ("variable_byte_integer", -1),
        ("binary_data", bytes(65_536)),
        ("utf8_string", "é" * 32_768),
        ("utf8_string", "\ud800"),
    ],
)
def test_value_that_does_not_fit_is_not_encoded(kind: str, value: Any) -> None:
    with pytest.raises((OverflowError, ValueError)):
        codec(kind)[1](value)


@pytest.mark.parametrize("encoded", [b"\x80\x00", b"\x81\x00", b"\x80\x80\x00", b"\xff\xff\xff\x00"])
def test_mqtt_1_5_5_1_variable_byte_integer_has_its_shortest_form(encoded: bytes) -> None:
    with pytest.raises(MalformedPacketError, match=r"v5 MQTT-1\.5\.5-1"):
        primitives.read_variable_byte_integer(encoded, 0, len(encoded))


def test_variable_byte_integer_has_four_bytes_at_most() -> None:
    with pytest.raises(MalformedPacketError, match="more than four"):
        primitives.read_variable_byte_integer(b"\xff\xff\xff\xff\x01", 0, 5)


@pytest.mark.parametrize(
    "text",
    [
        b"\xed\xa0\x80",  # U+D800
        b"\xed\xbf\xbf",  # U+DFFF
        b"\xed\xa0\x81\xed\xb0\x80",  # a surrogate pair
        b"\xc0\x80",  # U+0000 in two bytes
        b"\xc1\xbf",
        b"\xe0\x80\xaf",  # too long a form
        b"\xf4\x90\x80\x80",  # above U+10FFFF
        b"\xf8\x88\x80\x80\x80",
        b"\x80",
        b"\xc3",
        b"\xff",
    ],
)
def test_mqtt_1_5_4_1_ill_formed_utf8_is_malformed(text: bytes) -> None:
    encoded = primitives.encode_binary_data(text)
    with pytest.raises(MalformedPacketError, match=r"v5 MQTT-1\.5\.4-1"):
        primitives.read_utf8_string(encoded, 0, len(encoded))


def test_mqtt_1_5_4_2_null_character_is_malformed() -> None:
    with pytest.raises(MalformedPacketError, match=r"v5 MQTT-1\.5\.4-2"):
        primitives.read_utf8_string(b"\x00\x03a\x00b", 0, 5)


def test_mqtt_1_5_4_3_byte_order_mark_is_kept() -> None:
    assert primitives.read_utf8_string(b"\x00\x03\xef\xbb\xbf", 0, 5) == ("\ufeff", 5)


def test_mqtt_2_2_1_3_packet_identifier_is_not_zero() -> None:
    assert primitives.read_packet_id(b"\x00\x01", 0, 2) == (1, 2)
    with pytest.raises(ProtocolViolationError, match=r"v5 MQTT-2\.2\.1-3"):
        primitives.read_packet_id(b"\x00\x00", 0, 2)


@settings(deadline=None)
@given(st.integers(0, primitives.MAX_VARIABLE_BYTE_INTEGER))
def test_every_variable_byte_integer_there_and_back(value: int) -> None:
    encoded = primitives.encode_variable_byte_integer(value)
    assert primitives.read_variable_byte_integer(encoded, 0, len(encoded)) == (value, len(encoded))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100))
def test_every_text_there_and_back(text: str) -> None:
    encoded = primitives.encode_utf8_string(text)
    assert primitives.read_utf8_string(encoded, 0, len(encoded)) == (text, len(encoded))
