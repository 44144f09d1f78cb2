"""The listening socket and all connections on it: their bounds, their time-outs, their end.

Reading stops on every connection at once while the backlog to the store is full: what a peer sends then waits in its own
buffers. Writing is joined: one write per connection and loop turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from broker.net.connection import CONNECTION_BYTES, Connection
from broker.net.descriptors import DescriptorLimit
from broker.net.door import Door
from broker.net.send_buffers import SendBuffers
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.net.door import Doors
    from broker.session.message_broker import MessageBroker

log = logging.getLogger(__name__)

SWEEP_S = 1.0
TURNS_S = 0.004
LISTEN_BACKLOG = 1024
CLOSE_TIMEOUT_S = 3.0


class Server:
    """Accepts connections for a broker."""

    def __init__(
        self,
        broker: MessageBroker,
        doors: Doors,
        *,
        max_connections: int,
        receive_buffer_bytes: int,
        send_buffer_bytes: int,
        send_timeout_s: float,
    ) -> None:
        self.broker = broker
        self.doors = doors
        self.known_topics = KnownTopics(broker.plan.topics.limit_bytes // 4)
        self.receive_buffers = ReceiveBuffers(receive_buffer_bytes)
        self.send_buffer_bytes = send_buffer_bytes
        self.send_buffers = SendBuffers(broker.plan.send_buffers)
        self.connections: set[Connection] = set()
        self._max_connections = max_connections
        self.descriptors = DescriptorLimit(broker.monotonic)
        self._send_timeout_s = send_timeout_s
        self._listener: asyncio.Server | None = None
        self._dirty: list[Connection] = []
        self.is_reading = True
        self._behind: deque[Connection] = deque()
        self._turns: asyncio.Handle | None = None
        self.publishers: list[Connection] = []
        """Connections that are not read because they have published while the backlog fills."""
        self._all_closed = asyncio.Event()

    async def listen(self, host: str, port: int, *, is_shared: bool = False) -> None:
        """Accept connections on `host`:`port`, some of them where it `is_shared` by processes that all say so.

        Raises OSError when that address cannot be had.
        """
        self.descriptors.allow(self._max_connections)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Door(Connection(self), self.doors),
            host,
            port,
            backlog=LISTEN_BACKLOG,
            reuse_address=True,
            reuse_port=is_shared,
        )

    # --- called by connections

    def connected(self, connection: Connection) -> None:
        """Count a new connection in, or cut it off where there are as many as settings, files and memory allow."""
        self.connections.add(connection)
        self.broker.counters.connections_opened += 1
        count = len(self.connections)
        is_one_too_many = count > self._max_connections or not self.descriptors.admits(count)
        if is_one_too_many or not connection.charge(CONNECTION_BYTES):
            self.broker.counters.connections_refused += 1
            connection.abort()
        elif not self.is_reading:
            # Not now: uvloop begins to read after this. What has come already is read, once.
            asyncio.get_running_loop().call_soon(self._pause_new, connection)

    def _pause_new(self, connection: Connection) -> None:
        if not self.is_reading:
            connection.pause_reading()

    def disconnected(self, connection: Connection) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        connection.refund()
        if not self.connections:
            self._all_closed.set()

    def go_on_later(self, connection: Connection) -> None:
        """Have a connection go on with what it has received, behind the others that wait for their turn."""
        self._behind.append(connection)
        self._schedule_turns()

    def _schedule_turns(self) -> None:
        if self._turns is None and self._behind:
            self._turns = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Give those that wait their turns, for TURNS_S at most: then the sockets are looked at."""
        behind, end = self._behind, time.monotonic() + TURNS_S
        for _ in range(len(behind)):
            behind.popleft().go_on()
            if time.monotonic() >= end:
                break
        self._turns = None
        self._schedule_turns()

    def wake(self, connection: Connection) -> None:
        """Flush a connection at the end of this loop turn."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self.flush)
        self._dirty.append(connection)

    def flush(self) -> None:
        """Send what every connection has to send, one write each; of very much, a part in this loop turn."""
        dirty, self._dirty = self._dirty, []
        left_bytes = self.send_buffers.round_bytes
        for number, connection in enumerate(dirty, 1):
            left_bytes -= connection.flush()
            if left_bytes < 0 and number < len(dirty):
                dirty, self._dirty = dirty[:number], dirty[number:]
                asyncio.get_running_loop().call_soon(self.flush)
                break
        self.send_buffers.wrote(dirty, self.send_buffers.round_bytes - left_bytes, self.broker.monotonic())

    # --- back-pressure and time

    def set_reading(self, *, is_reading: bool) -> None:
        """Stop or resume reading, on all connections at once."""
        self.is_reading = is_reading
        for connection in self.connections:
            if is_reading:
                connection.resume_reading()
            else:
                connection.pause_reading()

    def read_publishers(self) -> None:
        """Read on from those that publish, where the backlog has room again."""
        if self.publishers and not self.broker.committer.is_filling:
            publishers, self.publishers = self.publishers, []
            for connection in publishers:
                connection.go_on_publishing()

    async def sweep_forever(self) -> None:
        """End what has timed out, about once a second: CONNECT, keep-alive, full buffers, sessions, wills."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self.broker.monotonic()
            self.broker.sessions.sweep(now)
            self.read_publishers()
            self.send_buffers.measure(now)
            for connection in list(self.connections):
                self._sweep(connection, now)

    def _sweep(self, connection: Connection, now: float) -> None:
        if connection.unwritable_since + self._send_timeout_s < now:
            self.broker.counters.slow_clients_dropped += 1
            connection.abort()
        elif (
            self.is_reading
            and not connection.waits_for_store
            and connection.client.deadline() < now
            and not connection.client.is_closing
        ):
            # While nothing is read, silence is not the client's fault.
            connection.client.time_out()

    # --- the end

    def stop_listening(self) -> None:
        """Accept nothing more; what is open stays open."""
        if self._listener is not None:
            self._listener.close()

    def stop_reading(self) -> None:
        """Take nothing more from anybody."""
        self.set_reading(is_reading=False)

    async def close_connections(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Tell every client that the server shuts down, close every socket, and return when all are closed."""
        self._all_closed.clear()
        for connection in list(self.connections):
            connection.client.close(ReasonCode.SERVER_SHUTTING_DOWN)
        if self.connections:
            try:
                await asyncio.wait_for(self._all_closed.wait(), timeout_s)
            except TimeoutError:
                for connection in list(self.connections):
                    connection.abort()
