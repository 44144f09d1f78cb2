"""Ports for the servers of tests: of a block of each worker's own, below those that the kernel hands out by itself.

A port of the kernel's would be free for the second that a server takes to listen, and somebody else's by then.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket

HOST = "127.0.0.1"
FIRST, BLOCK = 10_000, 2_500  # up to 20,000 with four workers; the gateway's containers have those from 21,000 on

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])  # noqa: TID251  pytest says it there
_first = FIRST + _worker % 4 * BLOCK
_ports = (_first + n % BLOCK for n in itertools.count(secrets.randbelow(BLOCK)))  # two runs at once begin elsewhere


def free_port() -> int:
    """Return a TCP port that nobody listens on now, and that this worker gives to nobody else soon."""
    for port in itertools.islice(_ports, BLOCK):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("every port of this worker is taken")
