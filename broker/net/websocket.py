"""MQTT in WebSocket frames (MQTT 5.0 §6, RFC 6455), as a layer. The frames themselves are the `websockets` library's work.

The bytes of binary frames are one stream: control packets may be split over frames or joined in one [v5 MQTT-6.0.0-2],
so each frame is passed on as it comes and no message is put together.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from broker.net.http_page import NO_UPGRADE, response
from broker.net.layer import Layer
from broker.protocol.receive_buffer import BufferShare
from broker.wire.errors import WireError
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    import asyncio

    from websockets.protocol import Event

    from broker.net.connection import Connection

SUBPROTOCOLS = [Subprotocol("mqtt"), Subprotocol("mqttv3.1")]  # [v5 MQTT-6.0.0-3]; 3.1's name came before the standard
PONG = bytes([0x80 | Opcode.PONG])
CLOSE_CODES = {
    ReasonCode.SERVER_SHUTTING_DOWN: CloseCode.GOING_AWAY,
    ReasonCode.MALFORMED_PACKET: CloseCode.PROTOCOL_ERROR,
    ReasonCode.PROTOCOL_ERROR: CloseCode.PROTOCOL_ERROR,
    ReasonCode.PACKET_TOO_LARGE: CloseCode.MESSAGE_TOO_BIG,
    ReasonCode.QUOTA_EXCEEDED: CloseCode.TRY_AGAIN_LATER,
}
"""What the Close frame says where MQTT has said why; 1000 for everything else."""

SILENT = logging.getLogger("broker.net.websocket.frames")
SILENT.disabled = True  # the library would log a line for each connection


class WebSocketLayer(Layer):
    """Frames from the socket (or from TLS) are a stream of bytes to the connection, and back."""

    def __init__(self, below: asyncio.Transport, connection: Connection, max_message_bytes: int) -> None:
        super().__init__(below, connection)
        self._connection = connection
        self._share = BufferShare(connection.receive_buffers)
        self._frames = ServerProtocol(subprotocols=SUBPROTOCOLS, max_size=max_message_bytes, logger=SILENT)

    def accept(self, head: bytes) -> bool:
        """Answer an HTTP request for an upgrade; false where it was refused, and the socket is closing."""
        self._frames.receive_data(head)
        requests = [event for event in self._frames.events_received() if isinstance(event, Request)]
        if not requests:  # a head that HTTP does not allow
            self._below.write(response(HTTPStatus.BAD_REQUEST, NO_UPGRADE))
        for request in requests:
            self._frames.send_response(self._frames.accept(request))
        self._send()
        return self._frames.state is State.OPEN

    def data_received(self, data: bytes) -> None:
        """Pass on what binary frames carry; answer pings and Close; a frame that breaks a rule closes."""
        self._frames.receive_data(data)
        received = self._stream(self._frames.events_received())
        if received:
            self._connection.data_received(received)
        self._send()
        try:
            self._share.resize(len(self._frames.reader.buffer))  # the library gives a frame out when it is whole
        except WireError as error:
            self._connection.client.close(error.reason_code)

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep nothing of a frame that has not arrived whole, and pass on that the socket is gone."""
        self._frames.reader.discard()
        self._share.resize(0)
        super().connection_lost(exc)

    def _stream(self, events: list[Event]) -> bytes:
        chunks: list[bytes] = []
        for frame in events:
            if not isinstance(frame, Frame):
                continue
            if frame.opcode is Opcode.TEXT:
                self._frames.fail(CloseCode.UNSUPPORTED_DATA, "MQTT needs binary frames")  # [v5 MQTT-6.0.0-1]
                break
            if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                chunks.append(bytes(frame.data))
        return b"".join(chunks)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` as one binary frame; nothing is sent behind a Close frame."""
        if self._frames.state is State.OPEN:
            self._frames.send_binary(bytes(data))
            self._send()

    def close(self) -> None:
        """Send a Close frame, then close the socket; the peer's own Close frame is not awaited (RFC 6455 §7.1.1)."""
        if self._frames.state is State.OPEN:
            self._frames.send_close(self._close_code())
            self._send()
        self._below.close()

    def _close_code(self) -> CloseCode:
        reason = self._connection.client.protocol.close_reason
        return CLOSE_CODES.get(reason, CloseCode.NORMAL_CLOSURE) if reason is not None else CloseCode.NORMAL_CLOSURE

    def _send(self) -> None:
        writes = self._frames.data_to_send()
        if self._connection.is_blocked:  # a peer that pings and does not read must not fill the buffer
            writes = [each for each in writes if each[:1] != PONG]
        if data := b"".join(writes):
            self._below.write(data)
        if self._frames.eof_sent:
            self._below.close()
