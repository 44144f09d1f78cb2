"""Where one packet ends and the next begins (MQTT 5.0 §2.1, MQTT 3.1.1 §2.2).

    first byte: type and flags | Remaining Length: 1-4 bytes | body: Remaining Length bytes

Knows nothing of what a body means. A packet that is too large is refused from its fixed header,
before its body takes memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire.errors import MalformedPacketError, PacketTooLargeError
from broker.wire.primitives import encode_variable_byte_integer

if TYPE_CHECKING:
    from collections.abc import Iterator


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


class PacketReader:
    """Cut a stream of bytes into packets: `feed` what arrived, then iterate until nothing is left.

        reader.feed(data)
        for first_byte, body in reader: …

    Bytes of one incomplete packet are kept between feeds, never more than `max_packet_bytes` of them.
    `max_packet_bytes` counts a whole packet, fixed header included (v5 §3.1.2.11.4).
    """

    def __init__(self, max_packet_bytes: int) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._received = bytearray()
        self._needed_bytes = 2  # the shortest packet; once a fixed header is read, that packet's length

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream. The caller iterates before it feeds again."""
        self._received += data

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield each complete packet's first byte and body.

        Raises PacketTooLargeError, MalformedPacketError where the bad packet stands, after the good ones before it.
        """
        if len(self._received) < self._needed_bytes:
            return
        buffer = bytes(self._received)
        position = 0
        try:
            while (bounds := self._next_bounds(buffer, position)) is not None:
                start, end = bounds
                first_byte = buffer[position]
                position = end
                yield first_byte, buffer[start:end]
        finally:
            del self._received[:position]

    def _next_bounds(self, buffer: bytes, position: int) -> tuple[int, int] | None:
        """Return where the body of the packet at `position` begins and ends; None until all of it is there."""
        header = read_remaining_length(buffer, position + 1)
        if header is None:
            self._needed_bytes = max(2, len(buffer) - position + 1)
            return None
        remaining_length, start = header
        end = start + remaining_length
        if end - position > self.max_packet_bytes:
            raise PacketTooLargeError(
                f"a packet of {end - position} bytes is announced; at most {self.max_packet_bytes} are accepted"
                " [v5 MQTT-3.2.2-15]"
            )
        self._needed_bytes = end - position
        return (start, end) if end <= len(buffer) else None
