"""Cuts a stream into packets the plain way, for tests of packets; the server's own way is `broker.protocol.connection`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire.framing import read_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        bounds = read_bounds(buffer, position, self.max_packet_bytes)
        if bounds is None:
            self._needed_bytes = max(2, len(buffer) - position + 1)
            return None
        self._needed_bytes = bounds[1] - position
        return bounds if bounds[1] <= len(buffer) else None
