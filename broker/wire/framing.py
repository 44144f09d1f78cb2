"""Where one packet ends and the next begins (MQTT 5.0 §2.1, MQTT 3.1.1 §2.2).

    first byte: type and flags | Remaining Length: 1-4 bytes | body: Remaining Length bytes

Knows nothing of what a body means. A packet that is too large is refused from its fixed header,
before its body takes memory.
"""

from __future__ import annotations

from broker.wire.errors import MalformedPacketError, PacketTooLargeError
from broker.wire.primitives import encode_variable_byte_integer


def read_remaining_length(buffer: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """Read the Remaining Length at `position`: its value and the position after it; None if it is not all there.

    A longer form than necessary is let through: MQTT 3.1.1 allows it, and the version is not known here.
    Raises MalformedPacketError for a fourth byte that announces a fifth.
    """
    value = shift = 0
    end = len(buffer)
    while position < end:
        byte = buffer[position]
        position += 1
        if byte < 0x80:
            return value | byte << shift, position
        if shift == 21:
            raise MalformedPacketError("the Remaining Length has more than four bytes (v5 §2.1.4, v3.1.1 §2.2.3)")
        value |= (byte & 0x7F) << shift
        shift += 7
    return None


def frame(first_byte: int, body: bytes) -> bytes:
    """Return the packet of a body: its fixed header in front."""
    return b"%c%b%b" % (first_byte, encode_variable_byte_integer(len(body)), body)


def read_bounds(buffer: bytes, position: int, max_packet_bytes: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `position` begins and ends, the end perhaps beyond `buffer`.

    None while its fixed header is not all there. `max_packet_bytes` counts a whole packet, fixed header included
    (v5 §3.1.2.11.4). Raises PacketTooLargeError from the fixed header alone, before a body takes memory.
    """
    header = read_remaining_length(buffer, position + 1)
    if header is None:
        return None
    remaining_length, start = header
    end = start + remaining_length
    if end - position > max_packet_bytes:
        raise PacketTooLargeError(
            f"a packet of {end - position} bytes is announced; at most {max_packet_bytes} are accepted"
            " [v5 MQTT-3.2.2-15]"
        )
    return start, end
