"""Whether ports are free, asked before anything starts."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from local.plan import LaunchError

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuse_taken(host: str, ports: Mapping[str, int]) -> None:
    """Check each port (by the name of its variable). Raises LaunchError for the first that cannot be listened on."""
    for name, port in ports.items():
        failure = _listen_error(host, port)
        if failure == errno.EADDRINUSE:
            free = _next_free(host, port)
            raise LaunchError(f"Port {port} is taken ({name}): stop what listens there or run {name}={free} make run")
        if failure == errno.EACCES:
            raise LaunchError(f"Port {port} ({name}) is not for ordinary users: run {name}={port + 8000} make run")


def _next_free(host: str, port: int) -> int:
    return next((free for free in range(port + 1, 65536) if _listen_error(host, free) == 0), port)


def _listen_error(host: str, port: int) -> int:
    with socket.socket() as probe:
        if probe.connect_ex((host, port)) == 0:  # also finds a listener on all addresses, which bind() may overlook
            return errno.EADDRINUSE
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return 0
