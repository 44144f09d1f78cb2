"""A TCP proxy before the store that can lose an answer: the store did what it was asked, the broker never hears it."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK_BYTES = 65536


class CuttingProxy:
    """Forwards 127.0.0.1:`port` to the Unix socket `target`; counts the answers it has cut in `cuts`."""

    def __init__(self, target: str) -> None:
        self.cuts = 0
        self._target = target
        self._trigger: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def cut_answer_to(self, trigger: bytes) -> None:
        """Cut the connection once, after a request with `trigger` has passed and before its answer does."""
        self._trigger = trigger

    def close(self) -> None:
        """Close every connection."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._open += [near, far]
                is_cut = threading.Event()
                threading.Thread(target=self._forward_requests, args=(near, far, is_cut), daemon=True).start()
                threading.Thread(target=self._forward_answers, args=(far, near, is_cut), daemon=True).start()

    def _forward_requests(self, near: socket.socket, far: socket.socket, is_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(CHUNK_BYTES):
                if self._trigger is not None and self._trigger in data:
                    self._trigger = None
                    is_cut.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def _forward_answers(self, far: socket.socket, near: socket.socket, is_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(CHUNK_BYTES):
                if is_cut.is_set():
                    self.cuts += 1
                    break
                near.sendall(data)
        for each in (near, far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
