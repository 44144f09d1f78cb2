"""What is kept of packets that have not arrived whole: one buffer a connection, and one bound for all of them.

A peer that sends the beginning of a large packet and no more makes the broker keep it. MAX_PACKET_BYTES bounds that for one
connection; ten thousand of them are bounded here. Each keeps a little for nothing, so that who only happens to be in the
middle of a small packet is not the one who is turned away.
"""

from __future__ import annotations

from broker.wire.errors import WireError
from broker.wire.reason_codes import ReasonCode

FREE_BYTES = 4096
"""Kept by each connection without being counted."""

CHUNK_OVERHEAD_BYTES = 48
"""What a `bytes` object takes besides its bytes, and its place in a list (CPython 3.11): peers may send single bytes."""


class ReceiveBuffers:
    """The bound over all connections of a process. `refused` counts the connections that would have grown past it."""

    __slots__ = ("max_bytes", "refused", "total_bytes")

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self.total_bytes = 0
        self.refused = 0


class BufferShare:
    """What one holder has of the total."""

    __slots__ = ("_all", "_counted_bytes")

    def __init__(self, receive_buffers: ReceiveBuffers) -> None:
        self._all = receive_buffers
        self._counted_bytes = 0

    def resize(self, kept_bytes: int) -> None:
        """Count what is kept now. Raises WireError with Quota exceeded where that would be too much over all connections."""
        counted_bytes = max(0, kept_bytes - FREE_BYTES)
        growth = counted_bytes - self._counted_bytes
        if growth > 0 and self._all.total_bytes + growth > self._all.max_bytes:
            self._all.refused += 1
            raise WireError("more than all connections together may keep", ReasonCode.QUOTA_EXCEEDED)
        self._all.total_bytes += growth
        self._counted_bytes = counted_bytes


class ReceiveBuffer:
    """The beginning of one packet, in the pieces in which it came: joined once when it is whole, not at each of them."""

    __slots__ = ("_kept_bytes", "_missing_bytes", "_share", "chunks")

    def __init__(self, receive_buffers: ReceiveBuffers) -> None:
        self._share = BufferShare(receive_buffers)
        self._kept_bytes = 0
        self._missing_bytes = 0
        self.chunks: list[bytes] = []

    def keep(self, chunk: bytes, missing_bytes: int) -> None:
        """Keep a chunk; it is worth looking at again when `missing_bytes` more have come. Raises WireError as `resize`."""
        self.chunks.append(chunk)
        self._missing_bytes = missing_bytes
        self._kept_bytes += len(chunk) + CHUNK_OVERHEAD_BYTES
        if self._kept_bytes > FREE_BYTES:
            self._share.resize(self._kept_bytes)

    def add(self, data: bytes) -> bytes:
        """Keep `data` behind the rest, or return all of it where enough is there. Raises WireError as `resize`."""
        missing_bytes = self._missing_bytes - len(data)
        if missing_bytes > 0:
            self.keep(data, missing_bytes)
            return b""
        self.chunks.append(data)
        return self.take()

    def take(self) -> bytes:
        """Return all that is kept, and keep it no longer."""
        data = b"".join(self.chunks)
        self.clear()
        return data

    def clear(self) -> None:
        """Keep nothing any more."""
        self.chunks.clear()
        if self._kept_bytes > FREE_BYTES:
            self._share.resize(0)
        self._kept_bytes = 0
