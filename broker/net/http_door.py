"""The head of an HTTP request on the broker's port: a WebSocket is opened, anything else gets a short answer."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.net.connection import WEBSOCKET_BYTES
from broker.net.http_page import HEAD_TOO_LARGE, ONLY_GET, TLS_ONLY, response
from broker.net.reading import ReadingProtocol
from broker.net.websocket import WebSocketLayer
from broker.protocol.receive_buffer import BufferShare
from broker.wire.errors import WireError

if TYPE_CHECKING:
    import asyncio

    from broker.net.connection import Connection
    from broker.net.door import Doors

MAX_HEAD_BYTES = 8 * 1024
METHOD = re.compile(rb"[A-Z]{1,20}(?: |\Z)")
WANTS_WEBSOCKET = re.compile(rb"\r\nupgrade:[ \t]*websocket", re.IGNORECASE)


class HttpDoor(ReadingProtocol):
    """Collects the head, at most 8 KiB of it; its time is what the connection's CONNECT has."""

    __slots__ = ("_connection", "_doors", "_head", "_is_refused", "_share", "_transport")

    def __init__(self, connection: Connection, doors: Doors, transport: asyncio.Transport, *, is_refused: bool) -> None:
        self._connection = connection
        self._doors = doors
        self._transport = transport
        self._is_refused = is_refused
        self._head = b""
        self._share = BufferShare(connection.receive_buffers)

    def data_received(self, data: bytes) -> None:
        """Answer once the head is whole."""
        if self._transport.is_closing():
            return
        self._head += data
        if not self._has_room():
            return
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not METHOD.match(self._head):
            self._not_http()
        elif len(head) > MAX_HEAD_BYTES:
            self._respond(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LARGE)
        elif end:
            self._answer(head + end, rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the socket is gone."""
        self._share.resize(0)
        self._connection.connection_lost(exc)

    def _has_room(self) -> bool:
        is_whole = b"\r\n\r\n" in self._head or len(self._head) > MAX_HEAD_BYTES
        try:
            self._share.resize(0 if is_whole else len(self._head))
        except WireError:
            self._connection.refuse()
            return False
        return True

    def _answer(self, head: bytes, rest: bytes) -> None:
        if self._is_refused:
            self._doors.counts.plain_text_refused += 1
            self._respond(HTTPStatus.FORBIDDEN, TLS_ONLY)
        elif not head.startswith(b"GET "):
            self._respond(HTTPStatus.METHOD_NOT_ALLOWED, ONLY_GET, has_body=not head.startswith(b"HEAD "))
        elif WANTS_WEBSOCKET.search(head):
            self._upgrade(head, rest)
        else:
            self._respond(HTTPStatus.OK, self._doors.page)

    def _upgrade(self, head: bytes, rest: bytes) -> None:
        if not self._connection.charge(WEBSOCKET_BYTES):
            self._connection.refuse()
            return
        layer = WebSocketLayer(self._transport, self._connection, self._doors.max_message_bytes)
        if not layer.accept(head):
            self._doors.counts.websockets_refused += 1
            return
        self._connection.transport = layer
        self._transport.set_protocol(layer)
        if rest:
            layer.data_received(rest)

    def _respond(self, status: HTTPStatus, text: str, *, has_body: bool = True) -> None:
        self._doors.counts.http_answered += 1
        self._transport.write(response(status, text, has_body=has_body))
        self._transport.close()

    def _not_http(self) -> None:
        # It began like a method but is none, such as a PUBREC (0x50, «P»): MQTT's rules judge it.
        if self._is_refused:
            self._doors.counts.plain_text_refused += 1
            self._transport.close()
            return
        self._share.resize(0)
        self._transport.set_protocol(self._connection)
        self._connection.data_received(self._head)
