"""One HTTP connection to InfluxDB, for a thread: it blocks. Kept open between requests, and opened again when it broke.

Bounded: each wait for the network by CONNECT_TIMEOUT_S or NETWORK_TIMEOUT_S, what is read of an answer by
MAX_ANSWER_BYTES. TLS is verified.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING

from broker.outlets.influx_answers import Answer
from store.mongo import PLATFORM_CA, PLATFORM_DOMAIN

if TYPE_CHECKING:
    from store.influx_address import InfluxAddress

CONNECT_TIMEOUT_S = 5.0
NETWORK_TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 64 * 1024
GZIP_LEVEL = 1
GZIPPED = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}


class InfluxConnection:
    """Posts to one server. One request at a time; `abort` may be called from any thread."""

    def __init__(self, address: InfluxAddress, token: str) -> None:
        self._headers = address.authorization(token)
        self._busy = threading.Lock()
        self._is_aborted = False
        self._http: http.client.HTTPConnection
        if address.is_tls:
            self._http = http.client.HTTPSConnection(
                address.host, address.port, timeout=CONNECT_TIMEOUT_S, context=_tls_context(address.host)
            )
        else:
            self._http = http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_TIMEOUT_S)

    def post(self, target: str, body: bytes = b"") -> Answer:
        """Post and return the answer. A connection that broke while it was idle is opened again, once.

        Raises OSError, http.client.HTTPException or ValueError: no whole answer came. What was asked for may be done.
        """
        with self._busy:
            was_open = self._http.sock is not None
            try:
                return self._request(target, body)
            except ConnectionError:
                if self._is_aborted or not was_open:
                    raise
                return self._request(target, body)
            finally:
                self._is_aborted = False

    def abort(self) -> None:
        """Have the request under way fail, or the next one: at once, unless it is still connecting."""
        self._is_aborted = True
        connected = self._http.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, after the request under way."""
        with self._busy:
            self._http.close()
            self._is_aborted = False

    def _request(self, target: str, body: bytes) -> Answer:
        try:
            if self._http.sock is None:
                self._connect()
            if body:
                self._http.request("POST", target, gzip.compress(body, GZIP_LEVEL), {**self._headers, **GZIPPED})
            else:
                self._http.request("POST", target, headers=self._headers)
            return self._answer(self._http.getresponse())
        except BaseException:
            self._http.close()
            raise

    def _connect(self) -> None:
        self._http.connect()
        self._http.sock.settimeout(NETWORK_TIMEOUT_S)
        if self._is_aborted:
            raise ConnectionAbortedError("given up")

    def _answer(self, response: http.client.HTTPResponse) -> Answer:
        text = response.read(MAX_ANSWER_BYTES).decode(errors="replace").strip()
        if not response.isclosed():  # there is more, which nobody reads
            self._http.close()
        return Answer(response.status, text, response.headers.get("Retry-After", ""))


def _tls_context(host: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if host.endswith(PLATFORM_DOMAIN) and PLATFORM_CA.exists():
        context.load_verify_locations(PLATFORM_CA)
    return context
