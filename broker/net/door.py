"""The first byte of a connection decides what is spoken: MQTT, TLS, or HTTP, which may become WebSocket.

    socket ── Door ──0x16──▶ TlsLayer ── Door ─┬─ 0x10, else ──▶ Connection
                └──────── plain text ──────────┴─ A to Z ──▶ HttpDoor ──▶ WebSocketLayer ──▶ Connection

A door gives its place to what it has found. Behind it plain MQTT runs as if there were no door: the socket's transport
calls `Connection` itself. The connection exists before the first byte and is counted, timed out and drained like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from broker.net.connection import TLS_BYTES
from broker.net.http_door import HttpDoor
from broker.net.http_page import page
from broker.net.reading import ReadingProtocol
from broker.net.tls import TlsLayer
from broker.net.tls_context import tls_context

if TYPE_CHECKING:
    import asyncio
    import ssl

    from broker.net.connection import Connection
    from settings import Settings

TLS_HANDSHAKE = 0x16
"""A ClientHello's record (RFC 8446 §5.1); in MQTT a CONNECT whose reserved bits are wrong [v5 MQTT-2.1.3-1]."""


@dataclass(slots=True)
class DoorCounts:
    """What happened at the doors since the process started."""

    tls_failures: int = 0
    http_answered: int = 0
    websockets_refused: int = 0
    plain_text_refused: int = 0


@dataclass(frozen=True, slots=True)
class Doors:
    """What the port accepts. Without `tls` a ClientHello is bytes that are not MQTT."""

    tls: ssl.SSLContext | None
    allows_plain_text: bool
    max_message_bytes: int
    page: str
    counts: DoorCounts = field(default_factory=DoorCounts)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the doors that the settings ask for. Raises SettingsError where OpenSSL refuses certificate or key."""
        tls = tls_context(settings)
        return cls(
            tls=tls,
            allows_plain_text=settings.allow_plain_text,
            # A message may carry the end of one packet and the next: browsers join what is written at once.
            max_message_bytes=2 * settings.max_packet_bytes,
            page=page(settings.tcp_url, settings.port, has_tls=tls is not None),
        )


class Door(ReadingProtocol):
    """Stands before one connection until its first byte."""

    __slots__ = ("_connection", "_doors", "_tls_layer")

    def __init__(self, connection: Connection, doors: Doors, tls_layer: TlsLayer | None = None) -> None:
        self._connection = connection
        self._doors = doors
        self._tls_layer = tls_layer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the connection counted; it knows the socket from now on."""
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the socket is gone."""
        self._connection.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let what is spoken take this place, and hand it the bytes."""
        transport = self._connection.transport
        assert transport is not None  # noqa: S101  bytes come from an open socket
        doors, is_plain = self._doors, self._tls_layer is None
        is_refused = is_plain and not doors.allows_plain_text
        if is_plain and doors.tls is not None and data[0] == TLS_HANDSHAKE:
            self._start_tls(transport, doors.tls, data)
        elif ord("A") <= data[0] <= ord("Z"):
            _give_place(transport, HttpDoor(self._connection, doors, transport, is_refused=is_refused), data)
        elif is_refused:
            doors.counts.plain_text_refused += 1
            transport.close()
        else:
            _give_place(transport, self._connection, data)

    def _start_tls(self, transport: asyncio.Transport, context: ssl.SSLContext, data: bytes) -> None:
        if not self._connection.charge(TLS_BYTES):
            self._connection.refuse()
            return
        receive_buffers = self._connection.receive_buffers
        layer = TlsLayer(transport, self, context, receive_buffers, self._count_tls_failure)
        layer.set_protocol(Door(self._connection, self._doors, layer))
        self._connection.transport = layer
        _give_place(transport, layer, data)

    def _count_tls_failure(self) -> None:
        self._doors.counts.tls_failures += 1


def _give_place(transport: asyncio.Transport, protocol: ReadingProtocol, data: bytes) -> None:
    transport.set_protocol(protocol)
    protocol.data_received(data)
