"""A network between clients and the broker that can be cut: neither side gets to say goodbye."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK_BYTES = 65536
HOST = "127.0.0.1"


class CuttableNetwork:
    """Forwards `host`:`port` to the broker."""

    host = HOST

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """End every connection that is open now."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut and take no more."""
        with self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was shut down
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._broker_port))
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=forward, args=(source, target), daemon=True))
                    self._threads[-1].start()


def forward(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes until either side ends, then end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
