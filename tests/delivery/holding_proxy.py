"""A proxy before the store that holds one request, or the answer to it, for as long as a test needs.

Whatever comes behind it on the same connection waits too. A broker gives a connection up after 5 s without an answer, so
release it sooner.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.broker.cutting_proxy import CHUNK_BYTES, CuttingProxy


class HoldingProxy(CuttingProxy):
    """Forwards 127.0.0.1:`port` to the Unix socket `target`; holds what it was told to hold, until `release`."""

    def __init__(self, target: str) -> None:
        self._request: bytes | None = None
        self._answer: bytes | None = None
        self._is_holding = threading.Event()
        self._released = threading.Event()
        super().__init__(target)

    @property
    def is_holding(self) -> bool:
        """Whether something is held now."""
        return self._is_holding.is_set()

    def hold_request(self, trigger: bytes) -> None:
        """Hold the next request that contains `trigger`: the store does not get it."""
        self.release()
        self._released = threading.Event()
        self._request = trigger

    def hold_answer(self, trigger: bytes) -> None:
        """Hold the answer to the next request that contains `trigger`: the store has done it, the broker does not know."""
        self.release()
        self._released = threading.Event()
        self._answer = trigger

    def release(self) -> None:
        """Let go what is held, and hold nothing more."""
        self._request = self._answer = None
        self._is_holding.clear()
        self._released.set()

    def close(self) -> None:
        """Close every connection."""
        self.release()
        super().close()

    def _forward_requests(self, near: socket.socket, far: socket.socket, is_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(CHUNK_BYTES):
                if self._request is not None and self._request in data:
                    self._request = None
                    self._hold()
                if self._answer is not None and self._answer in data:
                    self._answer = None
                    is_cut.set()
                far.sendall(data)
        _shut(near, far)

    def _forward_answers(self, far: socket.socket, near: socket.socket, is_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(CHUNK_BYTES):
                if is_cut.is_set():
                    is_cut.clear()
                    self._hold()
                near.sendall(data)
        _shut(near, far)

    def _hold(self) -> None:
        released = self._released
        self._is_holding.set()
        released.wait()


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
