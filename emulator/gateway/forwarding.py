"""Clients' connections through the gateway, each on the container it was given at its handshake.

    client ── Side ═ Side ── container          the container sees the gateway's address only

When a container closes a connection, its client hears of it. When the container is gone without having done so, its
client hears nothing: the connection stays open and what it sends vanishes, as the platform's documentation says.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emulator.gateway.balancing import RoundRobin
from emulator.gateway.container import HOST, Container
from emulator.gateway.packet_rate import packets_of
from emulator.gateway.side import Side

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from emulator.gateway.totals import Totals

BACKLOG = 1024
HANDSHAKE_RETRY_S = 1.0  # RFC 6298 2.1: until a SYN without an answer is sent again
HANDSHAKE_TIMEOUT_S = 60.0
SILENCE_TIMEOUT_S = 925.0  # Linux gives up after 15 retransmissions (tcp_retries2): 924.6 s
MAX_ABANDONED = 10_000


class Connection:
    """One client's connection. Its sides report to it; it decides what the end of one means for the other."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.client = Side(self)
        self.container: Container | None = None
        self._forwarder = forwarder
        self._totals = forwarder.totals
        self._server = Side(self)
        self._is_abandoned = False
        self._awaits_verdict: bool | None = None  # whether the container's side was reset, until we know why

    def opened(self, side: Side) -> None:
        """A socket of this connection is open."""
        if side is self.client:
            self._forwarder.accepted(self)

    async def connect(self) -> None:
        """Give the client a container, or a reset after HANDSHAKE_TIMEOUT_S without one."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await self._reach(await self._forwarder.next_container())
        except (OSError, TimeoutError):
            self._totals.unanswered += 1
            self.client.reset()

    async def _reach(self, container: Container) -> None:
        while container.rate is not None and not container.rate.admit(1, time.monotonic()):
            self._totals.packets_over_rate += 1
            await asyncio.sleep(HANDSHAKE_RETRY_S)
        await asyncio.get_running_loop().create_connection(lambda: self._server, HOST, container.port)
        if not self.client.is_open:
            self._server.reset()
            return
        self.container = container
        container.connections.add(self)
        self.client.join(self._server)

    def admit(self, side: Side, packets: int) -> int:
        """Return how many of `packets` from `side` pass: the limit is on what containers receive."""
        rate = self.container.rate if self.container is not None and side is self.client else None
        if rate is None:
            return packets
        admitted = rate.admit(packets, time.monotonic())
        self._totals.packets_over_rate += packets - admitted
        return admitted

    def passed(self, side: Side, byte_count: int) -> None:
        """Count bytes that came from `side`."""
        if side is self.client:
            self._totals.bytes_to_containers += byte_count
        else:
            self._totals.bytes_to_clients += byte_count

    def vanished(self, byte_count: int) -> None:
        """Count bytes for a container that is gone."""
        self._totals.packets_for_gone += packets_of(byte_count)
        self._totals.bytes_for_gone += byte_count

    def ended(self, side: Side) -> None:
        """`side` has sent all it will, and all of it is passed on."""
        if self._is_abandoned:
            self.client.close()
        elif side is self._server and self._is_container_going_down():
            self._awaits_verdict = False
        elif side.other is not None:
            side.other.write_eof()
            self._close_when_both_ended()

    def lost(self, side: Side, *, is_reset: bool) -> None:
        """The socket of `side` is closed."""
        if side is self._server and not self._is_abandoned and is_reset and self._is_container_going_down():
            self._awaits_verdict = True
            return
        if side is self.client or not self._is_abandoned:
            self._close(is_reset=is_reset)

    def container_ended(self) -> None:
        """The container is gone: by a signal, so this connection hangs; by itself, so its own closes count."""
        if self.container is not None and self.container.status is not None and self.container.status < 0:
            self._abandon()
        elif self._awaits_verdict is not None:
            is_reset, self._awaits_verdict = self._awaits_verdict, None
            if is_reset:
                self._close(is_reset=True)
            else:
                self.ended(self._server)

    def reset(self) -> None:
        """End it at once, for both."""
        self._close(is_reset=True)

    def _is_container_going_down(self) -> bool:
        return self.container is not None and self.container.is_going_down

    def _abandon(self) -> None:
        self._is_abandoned = True
        self._totals.abandoned += 1
        self.client.leave_alone()
        self._server.reset()
        self._leave_container()
        if self.client.has_ended:
            self.client.close()
        else:
            self._forwarder.abandoned(self)

    def _close_when_both_ended(self) -> None:
        if self.client.has_ended and self._server.has_ended:
            self._close(is_reset=False)

    def _close(self, *, is_reset: bool) -> None:
        for side in (self.client, self._server):
            if is_reset:
                side.reset()
            else:
                side.close()
        self._leave_container()
        self._forwarder.closed(self)

    def _leave_container(self) -> None:
        if self.container is not None:
            self.container.connections.discard(self)


class Forwarder:
    """The public port. `serve` says which containers new connections go to; existing ones stay where they are."""

    def __init__(self, totals: Totals, max_connections: int) -> None:
        self.totals = totals
        self._max_connections = max_connections
        self._balancing: RoundRobin[Container] = RoundRobin()
        self._is_serving = asyncio.Event()
        self._connections: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._abandoned: dict[Connection, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self).client, sock=listener, backlog=BACKLOG)

    def serve(self, containers: Sequence[Container]) -> None:
        """From now on new connections go to these containers; without any they wait."""
        self._balancing.replace(containers)
        if containers:
            self._is_serving.set()
        else:
            self._is_serving.clear()

    async def next_container(self) -> Container:
        """Return the container of a new connection, as soon as there is one."""
        while (container := self._balancing.choose()) is None:
            await self._is_serving.wait()
        return container

    def accepted(self, connection: Connection) -> None:
        """A client has connected: find it a container."""
        self.totals.connections += 1
        self._connections.add(connection)
        if len(self._connections) > self._max_connections:
            self.totals.unanswered += 1
            connection.reset()
            return
        task = asyncio.create_task(connection.connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def abandoned(self, connection: Connection) -> None:
        """Keep a hanging connection until its client gives it up, for a bounded time and in a bounded number."""
        if len(self._abandoned) >= MAX_ABANDONED:
            next(iter(self._abandoned)).reset()
        timer = asyncio.get_running_loop().call_later(SILENCE_TIMEOUT_S, connection.reset)
        self._abandoned[connection] = timer

    def closed(self, connection: Connection) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        timer = self._abandoned.pop(connection, None)
        if timer is not None:
            timer.cancel()

    @property
    def state(self) -> str:
        """How many connections there are, in words."""
        return f"{len(self._connections):,} connections, {len(self._abandoned):,} of them hanging"

    def stop_listening(self) -> None:
        """Accept no more."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End every connection."""
        for task in self._connecting:
            task.cancel()
        for connection in list(self._connections):
            connection.reset()
        await asyncio.gather(*self._connecting, return_exceptions=True)
