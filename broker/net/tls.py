"""TLS on the server's side, as a layer of memory buffers: the socket's transport stays what it was.

The event loop's own TLS would have to read the ClientHello from the socket itself, and logs each failed handshake. Here
the first byte may be read before it is clear that TLS is spoken, and a failure is only counted.
Source: `ssl.SSLObject` and `ssl.MemoryBIO`; RFC 8446.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from broker.net.layer import Layer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.net.reading import ReadingProtocol

READ_BYTES = 64 * 1024
"""Asked of OpenSSL at once; it gives one record (16 KiB) at most."""


class TlsLayer(Layer):
    """Bytes from the socket are decrypted for what is above, and back. Nothing is passed up before the handshake is done."""

    def __init__(
        self, below: asyncio.Transport, above: ReadingProtocol, context: ssl.SSLContext, on_failure: Callable[[], None]
    ) -> None:
        super().__init__(below, above)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._on_failure = on_failure
        self._is_open = False
        self._is_ended = False

    def data_received(self, data: bytes) -> None:
        """Decrypt and pass on; a peer that breaks TLS is sent its alert, counted and closed."""
        self._incoming.write(data)
        try:
            received = self._decrypt()
        except ssl.SSLError:
            self._on_failure()
            self._send()
            self._below.close()
            return
        self._send()
        if received:
            self._above.data_received(received)
        if self._is_ended:
            self.close()

    def _decrypt(self) -> bytes:
        chunks: list[bytes] = []
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._is_open = True
            while chunk := self._tls.read(READ_BYTES):
                chunks.append(chunk)
            self._is_ended = True  # the peer's close_notify
        except ssl.SSLWantReadError:
            pass  # all that came is read
        except ssl.SSLZeroReturnError:
            self._is_ended = True
        return b"".join(chunks)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows, and `ssl_object`."""
        return self._tls if name == "ssl_object" else super().get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if not self._is_open:
            return  # nothing is owed to a peer that has not finished its handshake
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]  # one record each
        self._send()

    def close(self) -> None:
        """Say so (close_notify) where a handshake was done, then close the socket; the peer's own is not awaited."""
        if self._is_open and not self._below.is_closing():
            with contextlib.suppress(ssl.SSLError):  # «want read»: it would wait for the peer's
                self._tls.unwrap()
            self._send()
        self._below.close()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())
