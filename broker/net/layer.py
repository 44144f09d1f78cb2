"""What stands between a socket and its client: a protocol to the side below it, a transport to the side above.

A layer changes bytes and keeps none that could be passed on, so that back-pressure goes straight through it: the socket's
`pause_writing` reaches the client, and the client's `pause_reading` reaches the socket.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from broker.net.reading import ReadingProtocol


class Layer(asyncio.Transport, ReadingProtocol):
    """Passes everything on but the bytes. A subclass brings `data_received`, `write` and `close`."""

    def __init__(self, below: asyncio.Transport, above: ReadingProtocol) -> None:
        super().__init__()
        self._below = below
        self._above = above

    # --- a protocol to what is below

    def pause_writing(self) -> None:
        """Pass on that the socket's buffer is full."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the socket's buffer has room again."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the socket is gone."""
        self._above.connection_lost(exc)

    # --- a transport to what is above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows."""
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol above this layer."""
        self._above = cast("ReadingProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol above this layer."""
        return self._above

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._below.is_closing()

    def can_write_eof(self) -> bool:
        """Whether one direction can be closed alone: not with what a layer owes its peer at the end."""
        return False

    def pause_reading(self) -> None:
        """Have the socket read nothing more."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Have the socket read on."""
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the socket has not taken yet."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Have the socket say that it has enough from so many bytes on."""
        self._below.set_write_buffer_limits(high, low)

    def abort(self) -> None:
        """Close without sending anything more."""
        self._below.abort()
