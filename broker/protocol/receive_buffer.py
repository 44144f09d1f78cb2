"""What is kept of received bytes that have not been acted on: one buffer a connection, and one account for all of them.

    [ beginning of a packet, in the pieces in which it came ]   waits for the rest of the packet
    [ buffer | position ]                                       waits for its turn, or for the answer to CONNECT

A peer that sends the beginning of a large packet and no more makes the broker keep it. MAX_PACKET_BYTES bounds that for one
connection; the account bounds it for all of them. Its last eighth is for connections that keep less than 16 KiB.
"""

from __future__ import annotations

from broker.accounts import Account
from broker.wire.errors import WireError
from broker.wire.reason_codes import ReasonCode

CHUNK_OVERHEAD_BYTES = 48
"""What a `bytes` object takes besides its bytes, and its place in a list (CPython 3.11): peers may send single bytes."""


class ReceiveBuffers(Account):
    """The account of a process. One connection may keep as much as MAX_PACKET_BYTES lets it, not only a share of it."""

    __slots__ = ()

    def __init__(self, limit_bytes: int = 64 * 1024 * 1024) -> None:
        super().__init__("receive_buffers", limit_bytes, share_bytes=limit_bytes)


class BufferShare:
    """What one holder has of the account."""

    __slots__ = ("_all", "kept_bytes")

    def __init__(self, receive_buffers: Account) -> None:
        self._all = receive_buffers
        self.kept_bytes = 0

    def resize(self, kept_bytes: int) -> None:
        """Charge what is kept now. Raises WireError with Quota exceeded where the account refuses that."""
        growth = kept_bytes - self.kept_bytes
        if growth <= 0:
            self._all.refund(-growth)
        elif not self._all.charge(growth, self.kept_bytes):
            raise WireError("more than all connections together may keep", ReasonCode.QUOTA_EXCEEDED)
        self.kept_bytes = kept_bytes


class ReceiveBuffer:
    """What one connection keeps. The pieces of a packet are joined once when it is whole, not at each of them."""

    __slots__ = ("_missing_bytes", "_position", "_share", "chunks", "rest")

    def __init__(self, receive_buffers: Account) -> None:
        self._share = BufferShare(receive_buffers)
        self._missing_bytes = 0
        self.rest = b""
        """What waits for its turn, from some position on."""
        self._position = 0
        self.chunks: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self.chunks and not self.rest

    # --- the beginning of a packet

    def keep(self, chunk: bytes, missing_bytes: int) -> None:
        """Keep a chunk; it is worth looking at again when `missing_bytes` more have come. Raises WireError as `resize`."""
        self._share.resize(self._share.kept_bytes + len(chunk) + CHUNK_OVERHEAD_BYTES)
        self.chunks.append(chunk)
        self._missing_bytes = missing_bytes

    def add(self, data: bytes) -> bytes:
        """Keep `data` behind the rest, or return all of it where enough is there. Raises WireError as `resize`."""
        missing_bytes = self._missing_bytes - len(data)
        if missing_bytes > 0:
            self.keep(data, missing_bytes)
            return b""
        data = b"".join((*self.chunks, data))
        self.clear()
        return data

    # --- what waits for its turn

    def keep_rest(self, buffer: bytes, position: int) -> None:
        """Keep what stands in `buffer` from `position` on, without a copy. Raises WireError as `resize`."""
        self._share.resize(len(buffer) + CHUNK_OVERHEAD_BYTES)
        self.rest, self._position = buffer, position

    def add_to_rest(self, data: bytes) -> None:
        """Keep `data` behind the rest. Raises WireError as `resize`."""
        self.keep_rest(self.rest[self._position :] + data, 0)

    def take_rest(self) -> tuple[bytes, int]:
        """Return the buffer and the position where its rest begins; it stays charged until it is kept anew or `clear`."""
        rest, self.rest = self.rest, b""
        return rest, self._position

    def clear(self) -> None:
        """Keep nothing any more."""
        self.chunks.clear()
        self.rest = b""
        if self._share.kept_bytes:
            self._share.resize(0)
