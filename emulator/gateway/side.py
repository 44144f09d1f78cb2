"""One of a connection's two sockets: what arrives on it leaves by the other one, within bounds.

Nothing is read while the other socket's buffer is full or a packet waits to be sent again, so that one connection holds
at most one read (256 KiB) and one full write buffer (asyncio's 64 KiB and one read) in each direction.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from emulator.gateway.packet_rate import PACKET_BYTES, packets_of

if TYPE_CHECKING:
    from emulator.gateway.forwarding import Connection

FIRST_RETRANSMISSION_S = 0.2  # Linux's TCP_RTO_MIN: a network without delay
LAST_RETRANSMISSION_S = 120.0  # TCP_RTO_MAX
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Side(asyncio.Protocol):
    """Bytes in; the connection is told of the socket's end."""

    def __init__(self, connection: Connection) -> None:
        self.other: Side | None = None
        self.has_ended = False  # its peer will send no more
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._retransmission_s = 0.0
        self._is_other_full = False

    @property
    def is_open(self) -> bool:
        """Whether its socket is open."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before there is another side."""
        self._transport = cast("asyncio.Transport", transport)
        # Not at once: a transport of Python 3.11.2 begins to read after this call, though it was told to pause in it.
        asyncio.get_running_loop().call_soon(self._read_or_wait)
        self._connection.opened(self)

    def join(self, other: Side) -> None:
        """Let bytes pass between this side and `other`."""
        self.other, other.other = other, self
        self._read_or_wait()
        other._read_or_wait()

    def leave_alone(self) -> None:
        """From now on what arrives has nowhere to go: the connection hears of it instead."""
        self.other, self._held, self._is_other_full = None, b"", False
        if self._transport is not None and not self.has_ended:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass on what the packet rate admits."""
        if self.other is None:
            self._connection.vanished(len(data))
            return
        self._held += data
        self._pass_on()

    def eof_received(self) -> bool:
        """Keep the other direction open: TCP can be closed by halves."""
        self.has_ended = True
        if not self._held:
            self._connection.ended(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection."""
        self._transport = None
        self._connection.lost(self, is_reset=exc is not None)

    def pause_writing(self) -> None:
        """This side's buffer is full: the other one has to wait."""
        self._set_full(is_full=True)

    def resume_writing(self) -> None:
        """There is room again."""
        self._set_full(is_full=False)

    def write(self, data: bytes) -> None:
        """Send to this side's peer."""
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Say that no more will come."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close in order, after what waits to be sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close at once, with a TCP reset."""
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._transport.abort()

    def _pass_on(self) -> None:
        if self.other is None or not self._held:
            return
        packets = packets_of(len(self._held))
        admitted = self._connection.admit(self, packets)
        passing, self._held = self._held[: admitted * PACKET_BYTES], self._held[admitted * PACKET_BYTES :]
        self._connection.passed(self, len(passing))
        self.other.write(passing)
        if self._held:
            self._wait_for_retransmission(is_again=not admitted)
        elif self.has_ended:
            self._connection.ended(self)
        self._read_or_wait()

    def _wait_for_retransmission(self, *, is_again: bool) -> None:
        # A dropped packet is not lost to TCP: its sender sends it again, later each time.
        doubled_s = 2 * self._retransmission_s if is_again else 0.0
        self._retransmission_s = min(max(doubled_s, FIRST_RETRANSMISSION_S), LAST_RETRANSMISSION_S)
        asyncio.get_running_loop().call_later(self._retransmission_s, self._pass_on)

    def _set_full(self, *, is_full: bool) -> None:
        if self.other is not None:
            self.other._is_other_full = is_full  # noqa: SLF001  of its own class
            self.other._read_or_wait()  # noqa: SLF001

    def _read_or_wait(self) -> None:
        if self._transport is None or self.has_ended:
            return
        if self.other is None or self._is_other_full or self._held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
