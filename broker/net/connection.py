"""One socket and its client: bytes in, joined writes out, back-pressure both ways. Decides nothing about MQTT.

What is to be sent goes to the transport until that holds TRANSPORT_BYTES, then waits in a queue. Up to `send_buffer_bytes` of
both, the client may be sent more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from broker.net.layer import Layer
from broker.net.reading import ReadingProtocol
from broker.net.send_queue import JOINED_BYTES, SendQueue
from broker.protocol.limits import SLICE_BYTES
from broker.session.client import Client
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.net.server import Server
    from broker.protocol.receive_buffer import ReceiveBuffers

NEVER = float("inf")
LINGER_S = 5.0
TRANSPORT_BYTES = 256 * 1024
CONNECTION_BYTES, TLS_BYTES, WEBSOCKET_BYTES = 2400, 18_500, 5000
"""What a connection takes that does nothing, and what TLS and a WebSocket add (measured: CPython 3.11, OpenSSL 3.0)."""
UNSTORED_BYTES = 1024 * 1024
"""A client of which so much is not stored yet is not read until half of it is: one that floods holds up nobody else."""
COUNTED_BYTES = 4 * 1024
TIGHT_BYTES = 16 * 1024  # for a connection that lags while all send buffers together are full


class Connection(ReadingProtocol):
    """A network connection. A bare TCP probe costs this object and nothing else: no session, no log line."""

    __slots__ = (
        "_charged_bytes", "_is_ahead", "_is_behind", "_is_closing", "_is_held", "_is_tight", "_queue", "_server", "_shared_bytes",
        "_uncounted_bytes", "_unstored_bytes", "_waiting", "blocked_since", "client", "is_publishing", "is_writable",
        "transport", "unwritable_since",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: list[asyncio.Future[None]] = []
        self._is_held = False
        self._is_behind = self._is_closing = self._is_tight = False
        self.is_publishing = False  # it has published while the backlog fills: others are read first
        self._queue: SendQueue | None = None
        self._is_ahead = False
        self._charged_bytes = 0
        self._unstored_bytes = self._uncounted_bytes = 0
        self._shared_bytes = 0  # of others' payloads, in the transport
        self.blocked_since = NEVER
        self.client = Client(server.broker, self, server.known_topics, server.receive_buffers)
        self.transport: asyncio.Transport | None = None
        self.is_writable = True
        self.unwritable_since = NEVER

    # --- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or close it at once where there are too many."""
        self.transport = transport  # type: ignore[assignment]  # a stream transport: the server listens on TCP
        assert self.transport is not None  # noqa: S101
        self.transport.set_write_buffer_limits(high=min(TRANSPORT_BYTES, self._server.send_buffer_bytes))
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        """Hand received bytes to the client. After many, others have their turn before it goes on."""
        client, committer = self.client, self._server.broker.committer
        added, backlog_bytes = committer.added, committer.backlog_bytes
        client.receive(data)
        self.flush()
        if brought_bytes := committer.backlog_bytes - backlog_bytes:
            self._uncounted_bytes += brought_bytes
            if self._uncounted_bytes >= COUNTED_BYTES or committer.is_filling:
                self._has_brought(committer.added != added)
        if len(data) >= SLICE_BYTES or client.protocol.has_rest:
            self._go_on_later()
        if self._waiting:
            self._wake_waiting()

    def pause_writing(self) -> None:
        """The transport has enough: what comes now is queued."""
        self.blocked_since = self._server.broker.monotonic()
        self._server.send_buffers.blocked(self)
        self._judge_writable()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.blocked_since = NEVER
        self._shared_bytes = 0
        self._pump()
        self._judge_writable()
        self._wake_waiting()

    def _judge_writable(self) -> None:
        """QoS 0 is dropped, QoS 1 and 2 queue, while too much waits to be sent."""
        is_blocked, queued_bytes = self.blocked_since != NEVER, self._queue.size_bytes if self._queue else 0
        most_bytes = 0 if self._is_tight else max(0, self._server.send_buffer_bytes - TRANSPORT_BYTES)
        if self.is_writable and is_blocked and queued_bytes >= most_bytes:
            self.is_writable = False
            self.unwritable_since = self.blocked_since
        elif not self.is_writable and (queued_bytes < most_bytes // 4 or not (is_blocked or queued_bytes)):
            self.is_writable = True
            self.unwritable_since = NEVER
            self.client.can_write()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  why it ended changes nothing
        """Forget the socket, once what it brought is acted on."""
        self.transport = self._queue = None
        self.unwritable_since = self.blocked_since = NEVER
        self._server.send_buffers.forget(self)
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
            self._server.go_on_later(self)

    def go_on(self) -> None:
        """Act on the next slice of what was received."""
        self._is_behind = False
        client = self.client
        if client.protocol.has_rest and self._may_read:
            committer = self._server.broker.committer
            added, backlog_bytes = committer.added, committer.backlog_bytes
            client.read_rest()
            self.flush()
            if brought_bytes := committer.backlog_bytes - backlog_bytes:
                self._uncounted_bytes += brought_bytes
                self._has_brought(committer.added != added)
            if client.protocol.has_rest:
                self._go_on_later()
                return
        if self.transport is not None:
            self.resume_reading()
        elif not client.protocol.has_rest:
            self._server.disconnected(self)

    def _has_brought(self, is_publishing: bool) -> None:
        """Count what is not stored yet; a client that has brought much waits until half of that is."""
        committer = self._server.broker.committer
        is_much = self._uncounted_bytes >= COUNTED_BYTES
        if is_much and committer.notify_stored(self, self._uncounted_bytes, has_messages=is_publishing):
            self._unstored_bytes += self._uncounted_bytes
            self._uncounted_bytes = 0
            if self._unstored_bytes > UNSTORED_BYTES and not self._is_ahead:
                self._is_ahead = True
                self.pause_reading()
        if is_publishing and committer.is_filling:
            self._wait_to_publish()

    def stored(self, size_bytes: int) -> None:
        """So much of what it has brought is stored."""
        self._unstored_bytes -= size_bytes
        if self._is_ahead and self._unstored_bytes <= UNSTORED_BYTES // 2:
            self._is_ahead = False
            self.client.protocol.last_received = self._server.broker.monotonic()
            self.resume_reading()

    @property
    def waits_for_store(self) -> bool:
        """Whether it is not read until the store has taken what was brought: silence is not its fault then."""
        return self.is_publishing or self._is_ahead

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

    def flush(self) -> int:
        """Send the client's output: in one write, or queued where the transport has enough. Return its size in bytes."""
        protocol = self.client.protocol
        output, transport = protocol.output, self.transport
        if not output:
            return 0
        if transport is None or transport.is_closing():
            output.clear()
            return 0
        if protocol.has_parts:
            protocol.has_parts = False
            if sum(map(len, output)) > JOINED_BYTES:
                return self._queue_output(output)
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        if len(data) > JOINED_BYTES or self._queue is not None or self.blocked_since != NEVER:
            return self._queue_output([data])
        transport.write(data)
        return len(data)

    def _queue_output(self, output: list[bytes | memoryview]) -> int:
        if self._queue is None:
            self._queue = SendQueue()
        before = self._queue.size_bytes
        self._queue.put(output)
        size_bytes = self._queue.size_bytes - before
        output.clear()
        self._pump()
        self._judge_writable()
        return size_bytes

    def _pump(self) -> None:
        """Give the transport what is queued, until it has enough."""
        part_bytes = TIGHT_BYTES if self._is_tight else JOINED_BYTES
        while self._queue is not None and self.blocked_since == NEVER and self.transport is not None:
            if not self._queue.size_bytes:
                self._queue = None
                break
            piece = self._queue.take(part_bytes)
            if isinstance(piece, memoryview) and not isinstance(self.transport, Layer):  # a layer copies
                self._shared_bytes += len(piece)
            self.transport.write(piece)
        if self._is_closing and self._queue is None:
            self._close_transport()

    def close(self) -> None:
        """Send the output, then close; a peer that does not take it in time is cut off."""
        self.flush()
        if self.transport is None:
            self._server.disconnected(self)
            self.client.connection_lost()
            return
        self._is_closing = True
        if self._queue is None:
            self._close_transport()
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def _close_transport(self) -> None:
        self._is_closing = False
        transport = self.transport
        if transport is None:
            return
        if self.client.protocol.has_told_of_fault and transport.can_write_eof():
            self._let_read_why(transport)
        else:
            transport.close()
            if self.transport is not None and transport.get_write_buffer_size():
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

    def refuse(self) -> None:
        """Close at once: there is no memory for it."""
        self._server.broker.counters.connections_refused += 1
        self.abort()

    def get_extra_info(self, name: str) -> Any:
        """Return what the socket's transport knows; None where it is gone."""
        return None if self.transport is None else self.transport.get_extra_info(name)

    @property
    def receive_buffers(self) -> ReceiveBuffers:
        """What all connections keep of what has not arrived whole."""
        return self._server.receive_buffers

    def charge(self, size_bytes: int) -> bool:
        """Have the account for clients charged with what this connection takes; False where that is full."""
        is_charged = self._server.broker.plan.clients.charge(size_bytes, self._charged_bytes)
        if is_charged:
            self._charged_bytes += size_bytes
        return is_charged

    # --- called by the server

    def refund(self) -> None:
        """Give back what this connection takes."""
        self._server.broker.plan.clients.refund(self._charged_bytes)
        self._charged_bytes = 0

    def count_unsent(self, shared: dict[int, int]) -> int:
        """Return how many bytes of its own wait to be sent; add the payloads that others send too to `shared`, by identity."""
        if self.transport is None:
            return 0
        own_bytes = max(0, self.transport.get_write_buffer_size() - self._shared_bytes)
        if self._queue is not None:
            own_bytes += self._queue.own_bytes
            self._queue.count_shared(shared)
        return own_bytes

    @property
    def is_blocked(self) -> bool:
        """Whether the transport has enough for now."""
        return self.blocked_since != NEVER

    @property
    def has_unsent(self) -> bool:
        """Whether its socket has not taken everything."""
        return self._queue is not None or self.blocked_since != NEVER

    def tighten(self) -> None:
        """Take little more to send until what waits is sent: all send buffers together are full."""
        self._set_tight(is_tight=True)

    def loosen(self) -> None:
        """Take as much to send as usual."""
        self._set_tight(is_tight=False)

    def _set_tight(self, *, is_tight: bool) -> None:
        self._is_tight = is_tight
        if self.transport is not None and not self.transport.is_closing():
            high_bytes = min(TIGHT_BYTES if is_tight else TRANSPORT_BYTES, self._server.send_buffer_bytes)
            self.transport.set_write_buffer_limits(high=high_bytes)
            self._judge_writable()

    def disconnect_slow(self) -> None:
        """Disconnect a client that does not read; that it is told is more than it would take."""
        self._server.broker.counters.slow_clients_dropped += 1
        self.client.close(ReasonCode.QUOTA_EXCEEDED)
        self.abort()

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
        return not (self._is_held or self._is_ahead or self.is_publishing) and self._server.is_reading
