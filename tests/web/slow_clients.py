"""Clients of a web server that hold a connection as long as they can, without credentials."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUEST = b"GET %s HTTP/1.1\r\nHost: dashboard\r\n\r\n"
HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: dashboard\r\nX-Half: "
HALF_BODY = b"POST /login HTTP/1.1\r\nHost: dashboard\r\nContent-Length: 9000\r\n\r\nusername=a"
HALF_CHUNK = b"POST /login HTTP/1.1\r\nHost: dashboard\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nusername=a"
LARGE_FILE = "vendor/uplot/uPlot.iife.min.js"
TRICKLE_S = 0.5


def first_bytes(kind: str, static_prefix: str) -> bytes:
    """Return what a client of this kind sends at once."""
    whole, large = REQUEST % b"/healthz", REQUEST % f"{static_prefix}/{LARGE_FILE}".encode()
    return {
        "silent": b"",
        "half a head": HALF_HEAD,
        "a head byte by byte": HALF_HEAD,
        "half a body": HALF_BODY,
        "a body byte by byte": HALF_BODY,
        "half a chunk": HALF_CHUNK,
        "blank lines": b"\r\n" * 10,
        "half a second request": whole + HALF_HEAD,
        "reads nothing": large,
        "reads nothing of many": large * 50,
    }[kind]


KINDS = (
    "silent", "half a head", "a head byte by byte", "half a body", "a body byte by byte", "half a chunk", "blank lines",
    "half a second request", "reads nothing", "reads nothing of many",
)  # fmt: skip


@contextlib.contextmanager
def slow_clients(address: str, kind: str, count: int, static_prefix: str) -> Iterator[Callable[[], int]]:
    """Keep `count` clients at it until the block ends: a connection that is closed on one is made again."""
    where = (urlsplit(address).hostname or "", urlsplit(address).port or 0)
    first, is_trickling = first_bytes(kind, static_prefix), "byte by byte" in kind
    ending, opened = threading.Event(), [0]

    def connect() -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(5)
        client.connect(where)
        client.sendall(first)
        opened[0] += 1
        return client

    def is_closed(client: socket.socket) -> bool:
        """Return whether the server closed it; reads nothing."""
        try:
            if is_trickling:
                client.send(b"a", socket.MSG_DONTWAIT)
        except OSError:
            return True
        watch = select.poll()
        watch.register(client, select.POLLRDHUP)
        return bool(watch.poll(0))

    def attack() -> None:
        clients: list[socket.socket] = []
        while not ending.is_set():
            with contextlib.suppress(OSError):
                while len(clients) < count and not ending.is_set():
                    clients.append(connect())
            for client in [client for client in clients if is_closed(client)]:
                client.close()
                clients.remove(client)
            ending.wait(TRICKLE_S)
        for client in clients:
            client.close()

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        deadline_s = time.monotonic() + 30
        while opened[0] < count and time.monotonic() < deadline_s:
            time.sleep(0.05)
        yield lambda: opened[0]
    finally:
        ending.set()
        thread.join()
