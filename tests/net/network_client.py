"""MQTT bytes through any door: a socket, TLS, or the `websockets` library's client. One packet a `receive`."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Protocol, Self

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.extensions.permessage_deflate import enable_client_permessage_deflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from websockets.sync.client import ClientConnection

    from tests.broker.broker_process import BrokerProcess

DEADLINE_S = 10.0
CLOSE_TIMEOUT_S = 1.0  # where nothing is expected of the broker any more
DOORS = ("tcp", "tls", "ws", "wss")


def open_socket(
    broker: BrokerProcess, tls: ssl.SSLContext | None = None, receive_buffer_bytes: int = 0
) -> socket.socket:
    """Return a connected socket, its TLS handshake done where `tls` is given."""
    plain = socket.socket()
    if receive_buffer_bytes:  # has to be known before the connection announces its window
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    plain.settimeout(DEADLINE_S)
    try:
        plain.connect((broker.host, broker.port))
        return plain if tls is None else tls.wrap_socket(plain, server_hostname=broker.host)
    except BaseException:
        plain.close()
        raise


def read_to_end(connection: socket.socket) -> bytes:
    """Return what still comes until the peer closes. Raises TimeoutError when it does not."""
    chunks = []
    try:
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def open_websocket(broker: BrokerProcess, subprotocol: str = "mqtt") -> ClientConnection:
    """Return an open WebSocket in plain text, with a thread of its own that reads. It offers compression, as browsers do."""
    return connect_websocket(
        f"ws://{broker.host}:{broker.port}/mqtt",
        sock=open_socket(broker),
        subprotocols=[Subprotocol(subprotocol)],
        close_timeout=DEADLINE_S,
    )


class _Stream(Protocol):
    def send(self, data: bytes) -> object: ...
    def receive(self) -> bytes: ...
    def close(self) -> None: ...


class _Socket:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.send = connection.sendall
        self.close = connection.close

    def receive(self) -> bytes:
        return self._connection.recv(65536)


class _WebSocket:
    """The library's protocol over a socket, in one thread: two on one TLS socket can make Python 3.11's `ssl` crash."""

    def __init__(self, connection: socket.socket, uri: str) -> None:
        self._socket = connection
        self._protocol = ClientProtocol(
            parse_uri(uri),
            subprotocols=[Subprotocol("mqtt")],
            extensions=enable_client_permessage_deflate(None),
        )
        self._received = b""
        try:
            self._open()
        except BaseException:
            connection.close()
            raise

    def send(self, data: bytes) -> None:
        self._protocol.send_binary(data)
        self._flush()

    def receive(self) -> bytes:
        while not self._received:
            self._read()
        received, self._received = self._received, b""
        return received

    def close(self) -> None:
        with self._socket, contextlib.suppress(OSError, WebSocketException):
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
            self._socket.settimeout(CLOSE_TIMEOUT_S)
            while True:
                self._read()

    def _open(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING:
            self._read()

    def _read(self) -> None:
        """Take in what comes. Raises ConnectionClosed at the end, InvalidHandshake where there is no WebSocket."""
        if data := self._socket.recv(65536):
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        with contextlib.suppress(OSError):  # an answer to a peer that is gone
            self._flush()
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {Opcode.BINARY, Opcode.CONT}:
                self._received += event.data
        if self._protocol.state is State.CLOSED:
            raise self._protocol.close_exc

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._socket.sendall(data)  # b"", where the library would end its side: `close` does


class NetworkClient:
    """A connection through one of DOORS on which whole control packets are read."""

    def __init__(
        self, broker: BrokerProcess, door: str, trusted: ssl.SSLContext, receive_buffer_bytes: int = 0
    ) -> None:
        tls = trusted if door in {"tls", "wss"} else None
        self._stream: _Stream
        if door in {"ws", "wss"}:
            uri = f"{door}://{broker.host}:{broker.port}/mqtt"
            self._stream = _WebSocket(open_socket(broker, tls, receive_buffer_bytes), uri)
        else:
            self._stream = _Socket(open_socket(broker, tls, receive_buffer_bytes))
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def send(self, data: bytes) -> None:
        """Write `data` whole: in one frame on a WebSocket."""
        self._stream.send(data)

    def receive(self) -> bytes:
        """Return the next control packet. Raises EOFError or the library's ConnectionClosed at the end."""
        end = time.monotonic() + DEADLINE_S
        while (length := self._packet_bytes()) is None:
            assert time.monotonic() < end, "no control packet in time"
            chunk = self._stream.receive()
            if not chunk:
                raise EOFError
            self._received += chunk
        packet, self._received = self._received[:length], self._received[length:]
        return packet

    def _packet_bytes(self) -> int | None:
        remaining = shift = 0
        for at, byte in enumerate(self._received[1:5], start=2):
            remaining |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return at + remaining if len(self._received) >= at + remaining else None
        return None
