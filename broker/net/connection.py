"""One socket and its client: bytes in, joined writes out, back-pressure both ways. Decides nothing about MQTT."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from broker.net.reading import ReadingProtocol
from broker.protocol.connection import SLICE_BYTES
from broker.session.client import Client

if TYPE_CHECKING:
    from broker.net.server import Server
    from broker.protocol.receive_buffer import ReceiveBuffers

LINGER_S = 5.0


class Connection(ReadingProtocol):
    """A network connection. A bare TCP probe costs this object and nothing else: no session, no log line."""

    __slots__ = (
        "_is_behind",
        "_is_held",
        "_server",
        "_waiting",
        "client",
        "is_publishing",
        "is_writable",
        "transport",
        "unwritable_since",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: list[asyncio.Future[None]] = []
        self._is_held = False
        self._is_behind = False
        self.is_publishing = False  # it has published while the backlog fills: others are read first
        self.client = Client(server.broker, self, server.known_topics, server.receive_buffers)
        self.transport: asyncio.Transport | None = None
        self.is_writable = True
        self.unwritable_since = float("inf")

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or close it at once where there are too many."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport: the server listens on TCP
        assert self.transport is not None  # noqa: S101
        self.transport.set_write_buffer_limits(high=self._server.send_buffer_bytes)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        """Hand received bytes to the client. After many, others have their turn before it goes on."""
        client, committer = self.client, self._server.broker.committer
        added = committer.added
        client.receive(data)
        self.flush()
        if committer.added != added and committer.is_filling:
            self._wait_to_publish()
        if len(data) >= SLICE_BYTES or client.protocol.has_rest:
            self._go_on_later()
        if self._waiting:
            self._wake_waiting()

    def pause_writing(self) -> None:
        """The socket's buffer is full: QoS 0 is dropped, QoS 1 and 2 queue until it has room."""
        self.is_writable = False
        self.unwritable_since = self._server.broker.monotonic()

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self.is_writable = True
        self.unwritable_since = float("inf")
        self.client.can_write()
        self._wake_waiting()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  why it ended changes nothing
        """Forget the socket, once what it brought is acted on."""
        self.transport = None
        self.unwritable_since = float("inf")
        self.client.connection_lost()
        for waiting in self._waiting:
            waiting.cancel()
        if self.client.protocol.has_rest:
            self._go_on_later()
        else:
            self._server.disconnected(self)

    # --- one slice a loop turn

    def _go_on_later(self) -> None:
        if not self._is_behind:
            self._is_behind = True
            self.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_behind = False
        client = self.client
        if client.protocol.has_rest and self._may_read:
            committer = self._server.broker.committer
            added = committer.added
            client.read_rest()
            self.flush()
            if committer.added != added and committer.is_filling:
                self._wait_to_publish()
            if client.protocol.has_rest:
                self._go_on_later()
                return
        if self.transport is not None:
            self.resume_reading()
        elif not client.protocol.has_rest:
            self._server.disconnected(self)

    def _wait_to_publish(self) -> None:
        self.is_publishing = True
        self.pause_reading()
        self._server.publishers.append(self)

    def go_on_publishing(self) -> None:
        """Read on: the backlog has room again."""
        self.is_publishing = False
        self.client.protocol.last_received = self._server.broker.monotonic()
        self.resume_reading()

    # --- called by the client

    def wake(self) -> None:
        """Have the client's output sent at the end of this loop turn."""
        self._server.wake(self)

    def flush(self) -> None:
        """Send the client's output in one write."""
        output = self.client.protocol.output
        if output:
            data = output[0] if len(output) == 1 else b"".join(output)
            output.clear()
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(data)

    def close(self) -> None:
        """Send the output, then close; a peer that does not take it in time is cut off."""
        self.flush()
        if self.transport is None:
            self._server.disconnected(self)
            self.client.connection_lost()
            return
        if self.client.protocol.has_told_of_fault and self.transport.can_write_eof():
            self._let_read_why(self.transport)
        else:
            self.transport.close()
            if self.transport is not None and self.transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def _let_read_why(self, transport: asyncio.Transport) -> None:
        # A peer that sends too much is sending still. Its bytes would meet a closed socket, whose reset reaches it before
        # it has read the DISCONNECT: only this direction is closed, what comes is thrown away until it closes its own.
        transport.write_eof()
        self.client.connection_lost()
        asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self.transport is not None:
            self.transport.abort()

    async def room(self) -> None:
        """Return after the next sign of progress: the peer has taken or sent something."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def hold_reading(self) -> None:
        """Read nothing more, whatever the server says, until `release_reading`."""
        self._is_held = True
        self.pause_reading()

    def release_reading(self) -> None:
        """Read on, unless the server reads from nobody."""
        self._is_held = False
        self.resume_reading()

    def get_extra_info(self, name: str) -> Any:
        """Return what the socket's transport knows; None where it is gone."""
        return None if self.transport is None else self.transport.get_extra_info(name)

    @property
    def receive_buffers(self) -> ReceiveBuffers:
        """What all connections keep of what has not arrived whole."""
        return self._server.receive_buffers

    # --- called by the server

    def pause_reading(self) -> None:
        """Read nothing more: the peer's own buffers fill and it slows down."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless the client waits or the server reads from nobody; what waits for its turn comes first."""
        if not self._may_read or self._is_behind:
            return
        if self.client.protocol.has_rest:
            self._go_on_later()
        elif self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def _may_read(self) -> bool:
        return not self._is_held and not self.is_publishing and self._server.is_reading
