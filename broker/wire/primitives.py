"""The data representations of MQTT 5.0 §1.5 (MQTT 3.1.1 §1.5): integers, strings, binary data.

Every `read_…(buffer, position, end)` returns the value and the position after it, and never looks at or
past `end`. Raises (all of them) MalformedPacketError when the value does not fit before `end` or is ill-formed.
Every `encode_…` raises ValueError or OverflowError for a value that its representation cannot hold.
"""

from __future__ import annotations

import re
from typing import Final

from broker.wire.errors import MalformedPacketError, ProtocolViolationError, WireError

MAX_VARIABLE_BYTE_INTEGER: Final = 268_435_455
_CONTROL_CHARACTERS: Final = re.compile("[\x01-\x1f\x7f-\x9f]")


def _truncated() -> MalformedPacketError:
    return MalformedPacketError("the packet ends inside a field")


def check_end(position: int, end: int) -> None:
    """Make sure that a packet's fields fill its Remaining Length."""
    if position != end:
        raise MalformedPacketError(f"{end - position} bytes after the last field of the packet (§2.1.4)")


def read_byte(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Read one byte: 0 to 255."""
    if position >= end:
        raise _truncated()
    return buffer[position], position + 1


def encode_byte(value: int) -> bytes:
    """Encode 0 to 255 in one byte."""
    return value.to_bytes(1, "big")


def read_two_byte_integer(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a big-endian Two Byte Integer (§1.5.2)."""
    after = position + 2
    if after > end:
        raise _truncated()
    return buffer[position] << 8 | buffer[position + 1], after


def encode_two_byte_integer(value: int) -> bytes:
    """Encode 0 to 65,535 in two bytes."""
    return value.to_bytes(2, "big")


def read_four_byte_integer(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a big-endian Four Byte Integer (§1.5.3)."""
    after = position + 4
    if after > end:
        raise _truncated()
    return int.from_bytes(buffer[position:after], "big"), after


def encode_four_byte_integer(value: int) -> bytes:
    """Encode 0 to 4,294,967,295 in four bytes."""
    return value.to_bytes(4, "big")


def read_variable_byte_integer(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a Variable Byte Integer of up to four bytes in its shortest form [v5 MQTT-1.5.5-1]."""
    value = 0
    for shift in (0, 7, 14, 21):
        if position >= end:
            raise _truncated()
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise MalformedPacketError("a Variable Byte Integer is longer than it needs to be [v5 MQTT-1.5.5-1]")
            return value, position
    raise MalformedPacketError("a Variable Byte Integer has more than four bytes (§1.5.5)")


def encode_variable_byte_integer(value: int) -> bytes:
    """Encode 0 to 268,435,455 in as few bytes as possible [v5 MQTT-1.5.5-1]."""
    if 0 <= value < 0x80:
        return value.to_bytes(1, "big")
    if not 0 <= value <= MAX_VARIABLE_BYTE_INTEGER:
        raise OverflowError(f"{value} does not fit a Variable Byte Integer")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_binary_data(buffer: bytes, position: int, end: int) -> tuple[bytes, int]:
    """Read Binary Data (§1.5.6): up to 65,535 bytes."""
    length, start = read_two_byte_integer(buffer, position, end)
    after = start + length
    if after > end:
        raise _truncated()
    return buffer[start:after], after


def encode_binary_data(value: bytes) -> bytes:
    """Encode up to 65,535 bytes with their length in front."""
    return len(value).to_bytes(2, "big") + value


def read_utf8_string(buffer: bytes, position: int, end: int) -> tuple[str, int]:
    """Read a UTF-8 Encoded String (§1.5.4).

    U+FEFF stays wherever it stands [v5 MQTT-1.5.4-3]; control characters and non-characters are let
    through, as the specification leaves it open; `read_name` is stricter.
    """
    encoded, after = read_binary_data(buffer, position, end)
    try:
        text = encoded.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacketError(f"a string is not well-formed UTF-8 [v5 MQTT-1.5.4-1]: {error.reason}") from None
    if "\0" in text:
        raise MalformedPacketError("a string contains U+0000 [v5 MQTT-1.5.4-2]")
    return text, after


def read_name(buffer: bytes, position: int, end: int) -> tuple[str, int]:
    """Read a string that names a client, a user or a topic: names end up in logs and on pages, and hold no control character.

    The specification lets a receiver refuse them in any string (v5 §1.5.4, v3.1.1 §1.5.3).
    """
    text, after = read_utf8_string(buffer, position, end)
    check_no_control_characters(text)
    return text, after


def check_no_control_characters(text: str) -> None:
    """Raise MalformedPacketError for U+0001 to U+001F or U+007F to U+009F (v5 §1.5.4, v3.1.1 §1.5.3)."""
    if not text.isprintable() and _CONTROL_CHARACTERS.search(text):
        raise MalformedPacketError("a name contains a control character (v5 §1.5.4, v3.1.1 §1.5.3)")


def encode_utf8_string(value: str) -> bytes:
    """Encode text of up to 65,535 bytes in UTF-8 with its length in front."""
    return encode_binary_data(value.encode())


def read_utf8_string_pair(buffer: bytes, position: int, end: int) -> tuple[tuple[str, str], int]:
    """Read a UTF-8 String Pair (§1.5.7): name and value [v5 MQTT-1.5.7-1]."""
    name, position = read_utf8_string(buffer, position, end)
    value, position = read_utf8_string(buffer, position, end)
    return (name, value), position


def encode_utf8_string_pair(value: tuple[str, str]) -> bytes:
    """Encode a name and its value."""
    return encode_utf8_string(value[0]) + encode_utf8_string(value[1])


def read_packet_id(
    buffer: bytes, position: int, end: int, *, if_zero: type[WireError] = ProtocolViolationError
) -> tuple[int, int]:
    """Read a Packet Identifier: 1 to 65,535 [v5 MQTT-2.2.1-3].

    Raises `if_zero` for 0, which the specification gives no reason code.
    """
    packet_id, position = read_two_byte_integer(buffer, position, end)
    if packet_id == 0:
        raise if_zero("the Packet Identifier is 0 [v5 MQTT-2.2.1-3], [v3.1.1 MQTT-2.3.1-1]")
    return packet_id, position
