"""What one connection has to send beyond what its transport has taken: small packets joined, large payloads by reference.

    protocol.output -> [ piece | piece | payload, shared with other connections | piece ] -> transport, a part at a time

A transport is given no more than it has room for, so that what a layer copies (TLS, WebSocket) stays small, and a payload
that thousands of connections wait to send is in memory once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

JOINED_BYTES = 64 * 1024
"""Output up to this size is joined into one write."""

Piece = bytes | memoryview


class SendQueue:
    """Pieces in the order in which they are to be sent. A `memoryview` is of a payload that others may send too."""

    __slots__ = ("_pieces", "own_bytes", "size_bytes")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.size_bytes = 0
        self.own_bytes = 0

    def put(self, output: Iterable[Piece]) -> None:
        """Take packets and parts of packets."""
        joined: list[Piece] = []
        joined_bytes = 0
        for each in output:
            if joined_bytes + len(each) > JOINED_BYTES:
                self._put_joined(joined)
                joined_bytes = 0
            if len(each) > JOINED_BYTES:
                self._put(each)
            else:
                joined.append(each)
                joined_bytes += len(each)
        self._put_joined(joined)

    def _put_joined(self, joined: list[Piece]) -> None:
        if joined:
            self._put(b"".join(joined) if len(joined) > 1 else joined[0])
            joined.clear()

    def _put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self.size_bytes += len(piece)
        if isinstance(piece, bytes):
            self.own_bytes += len(piece)

    def take(self, most_bytes: int) -> Piece:
        """Return what is to be sent next, at most so much of it."""
        piece = self._pieces.popleft()
        self.size_bytes -= len(piece)
        if isinstance(piece, bytes):
            self.own_bytes -= len(piece)
        if len(piece) > most_bytes:
            view = memoryview(piece)
            rest = view[most_bytes:]
            self._pieces.appendleft(rest)
            self.size_bytes += len(rest)
            piece = view[:most_bytes]
        return piece

    def count_shared(self, shared: dict[int, int]) -> None:
        """Add the payloads that wait here, by identity: with their sizes."""
        for piece in self._pieces:
            if isinstance(piece, memoryview):
                shared[id(piece.obj)] = len(piece.obj)  # type: ignore[arg-type]  # the payload
