"""MQTT bytes through any door: a socket, TLS, or the `websockets` library's client. One packet a `receive`."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Protocol, Self

from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from websockets.sync.client import ClientConnection

    from tests.broker.broker_process import BrokerProcess

DEADLINE_S = 10.0
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


def open_websocket(
    broker: BrokerProcess, tls: ssl.SSLContext | None = None, receive_buffer_bytes: int = 0, subprotocol: str = "mqtt"
) -> ClientConnection:
    """Return an open WebSocket. It offers compression, as browsers do."""
    return connect_websocket(
        f"{'ws' if tls is None else 'wss'}://{broker.host}:{broker.port}/mqtt",
        sock=open_socket(broker, receive_buffer_bytes=receive_buffer_bytes),
        ssl=tls,
        server_hostname=None if tls is None else broker.host,
        subprotocols=[Subprotocol(subprotocol)],
        close_timeout=1,
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
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.send = connection.send
        self.close = connection.close

    def receive(self) -> bytes:
        message = self._connection.recv(DEADLINE_S)
        assert isinstance(message, bytes)
        return message


class NetworkClient:
    """A connection through one of DOORS on which whole control packets are read."""

    def __init__(
        self, broker: BrokerProcess, door: str, trusted: ssl.SSLContext, receive_buffer_bytes: int = 0
    ) -> None:
        tls = trusted if door in {"tls", "wss"} else None
        self._stream: _Stream
        if door in {"ws", "wss"}:
            self._stream = _WebSocket(open_websocket(broker, tls, receive_buffer_bytes))
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
