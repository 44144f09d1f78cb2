"""Whether the application answers: the broker accepts a connection, the dashboard's /healthz says 200."""

from __future__ import annotations

import http.client
import socket

ANSWER_TIMEOUT_S = 2


def is_accepting(host: str, port: int) -> bool:
    """Return whether something accepts TCP connections there."""
    try:
        socket.create_connection((host, port), ANSWER_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def is_healthy(host: str, port: int) -> bool:
    """Return whether GET /healthz is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
