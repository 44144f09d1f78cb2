"""How sockets are read: at most 32 KiB at once, so that nobody's bytes fill the memory before others have had their turn.

The event loop would read up to 256 KB. One buffer serves all connections: what it holds is copied before the next read.
"""

from __future__ import annotations

import asyncio

from broker.protocol.limits import READ_AT_ONCE_BYTES

_BUFFER = bytearray(READ_AT_ONCE_BYTES)
_VIEW = memoryview(_BUFFER)


class ReadingProtocol(asyncio.BufferedProtocol):
    """A protocol with a `data_received` that gets no more than READ_AT_ONCE_BYTES."""

    __slots__ = ()

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Return where the event loop is to put what it reads."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what the event loop has read."""
        self.data_received(bytes(_VIEW[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take received bytes."""
        raise NotImplementedError
