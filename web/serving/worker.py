"""gunicorn's threaded worker with request buffering: it waits for clients in its poller instead of in a thread.

A connection is in one of three places:

    waiting   in the poller: for a whole request, for room to answer in, or, after its last answer, for its end
    queued    handed to the pool of threads
    served    in a thread, which finds the request whole and writes the answer into the socket's buffer

Bounds: a waiting connection has CLIENT_TIMEOUT_S and MAX_REQUEST_BYTES, however often it sends something. With
`worker_connections` open, a new one takes the place of the one that has waited longest. An answer that the socket's
buffer does not take has SEND_TIMEOUT_S for each of its parts; without log-in no answer is that long.

Overrides `ThreadWorker` of gunicorn 27.0 where it accepts, parks and ends connections; its threads are used as they are.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from web.serving.whole_request import RefusedRequestError, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

CLIENT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 20  # whole seconds; of the kernel, since Python's own time-outs wait for a writable socket first
READ_BYTES = 8 * 1024
DISCARDED_BYTES = 64 * 1024  # read from a client that was told that the connection ends
SEND_BUFFER_BYTES = 128 * 1024
LARGEST_FREE_ANSWER_BYTES = 64 * 1024
"""Fits a socket's buffer whenever its socket is writable: Linux doubles the buffer for its own bookkeeping, and calls a
socket writable when a third of that is free. Answers that need no log-in, static files among them, have to be shorter."""


class Connection(TConn):  # type: ignore[misc]
    """One client's connection; `received` has come and is not parsed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.received = bytearray()
        self.discarded_bytes = 0


class RequestBufferingWorker(ThreadWorker):  # type: ignore[misc]
    """Hands a connection to a thread when its request is whole and its socket can take an answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting: dict[Connection, float] = {}  # until when (monotonic s); the first has waited longest

    # --- in the main thread, called by gunicorn's loop

    def accept(self, listener: Any) -> None:
        """Take a new connection, in the place of an old one where there are too many."""
        if self.nr_conns + 1 >= self.worker_connections:
            self._end_oldest()
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._end_oldest()
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_S, 0))
        self.nr_conns += 1
        self._wait(Connection(self.cfg, client, address, listener.getsockname()), self._receive)

    def finish_request(self, connection: Connection, served: Future[bool]) -> None:
        """Wait for the next request of a connection that a thread has served, or for its end."""
        if served.cancelled() or served.exception() or not served.result():
            self._say_end(connection)
            return
        connection.received += connection.parser.unreader.take_buffered()
        self._wait(connection, self._receive)
        self._examine(connection)

    def murder_pending(self) -> None:
        """End the connections that have waited too long."""
        now_s = time.monotonic()
        while self._waiting and next(iter(self._waiting.values())) < now_s:
            self._end_oldest()

    def _cap_keepalive(self, deadline: float) -> None:
        for connection, until_s in self._waiting.items():
            self._waiting[connection] = min(until_s, deadline)

    # --- waiting connections

    def _wait(self, connection: Connection, then: Callable[[Connection], None]) -> None:
        timeout_s = CLIENT_TIMEOUT_S if self.alive else STOP_KEEPALIVE_LINGER
        connection.sock.setblocking(False)
        self._waiting[connection] = time.monotonic() + timeout_s
        self.poller.register(connection.sock, selectors.EVENT_READ, lambda _socket: then(connection))

    def _stop_waiting(self, connection: Connection) -> None:
        del self._waiting[connection]
        self.poller.unregister(connection.sock)

    def _receive(self, connection: Connection) -> None:
        data = _read(connection)
        if data is None:
            return
        connection.received += data
        if data:
            self._examine(connection)
        else:
            self._end(connection)

    def _examine(self, connection: Connection) -> None:
        try:
            if is_whole(connection.received):
                ready = selectors.EVENT_WRITE
                self.poller.modify(connection.sock, ready, lambda _socket: self._hand_over(connection))
        except RefusedRequestError as refusal:
            self._refuse(connection, str(refusal))

    def _hand_over(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self.enqueue_req(connection)

    def _refuse(self, connection: Connection, status: str) -> None:
        self._stop_waiting(connection)
        answer = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        try:
            connection.sock.send(answer.encode())
        except OSError:
            self._close(connection)
        else:
            self._say_end(connection)

    def _say_end(self, connection: Connection) -> None:
        """Tell the client that nothing more comes, and wait for its end: closed at once, it could lose the answer."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
        else:
            self._wait(connection, self._discard)

    def _discard(self, connection: Connection) -> None:
        data = _read(connection)
        if data is None:
            return
        connection.discarded_bytes += len(data)
        if not data or connection.discarded_bytes > DISCARDED_BYTES:
            self._end(connection)

    def _end_oldest(self) -> None:
        for connection in self._waiting:
            self._end(connection)
            return

    def _end(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self.nr_conns -= 1
        connection.close()

    # --- in a thread

    def handle(self, connection: Connection) -> Any:
        """Serve the request that `connection` has received."""
        connection.init()
        connection.parser.unreader.unread(bytes(connection.received))
        connection.received.clear()
        return super().handle(connection)

    def handle_request(self, request: Any, connection: Connection) -> Any:
        """Answer; a client that does not take its answer in time has left."""
        try:
            return super().handle_request(request, connection)
        except BlockingIOError:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read") from None


def _read(connection: Connection) -> bytes | None:
    """Return what has come, b"" at the end, None where nothing has."""
    try:
        data: bytes = connection.sock.recv(READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    return data
