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
from broker.protocol.receive_buffer import BufferShare
from broker.wire.errors import WireError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from broker.accounts import Account
    from broker.net.reading import ReadingProtocol

READ_BYTES = 64 * 1024
"""Asked of OpenSSL at once; it gives one record (16 KiB) at most."""


HEADER_BYTES = 5


class PartialRecord:
    """Follows the heads of TLS records (RFC 8446 §5.1): how much of the last one has come, which OpenSSL keeps."""

    __slots__ = ("_header", "_length", "_missing")

    def __init__(self) -> None:
        self._header = b""
        self._length = self._missing = 0

    def follow(self, data: bytes) -> int:
        """Take received bytes; return how many belong to a record that is not whole."""
        position = 0
        while position < len(data):
            if self._missing:
                step = min(self._missing, len(data) - position)
                self._missing -= step
            else:
                step = HEADER_BYTES - len(self._header)
                self._header += data[position : position + step]
                if len(self._header) == HEADER_BYTES:
                    self._length = self._missing = int.from_bytes(self._header[3:], "big")
                    self._header = b""
            position += step
        return len(self._header) or (self._length - self._missing if self._missing else 0)


class TlsLayer(Layer):
    """Bytes from the socket are decrypted for what is above, and back. Nothing is passed up before the handshake is done."""

    def __init__(
        self,
        below: asyncio.Transport,
        above: ReadingProtocol,
        context: ssl.SSLContext,
        receive_buffers: Account,
        on_failure: Callable[[], None],
    ) -> None:
        super().__init__(below, above)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._on_failure = on_failure
        self._share = BufferShare(receive_buffers)
        self._record = PartialRecord()
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
        if not self._charge(data):
            return
        if received:
            self._above.data_received(received)
        if self._is_ended:
            self.close()

    def _charge(self, data: bytes) -> bool:
        """Charge what OpenSSL keeps: all of an unfinished handshake, or an unfinished record. False: closed for want of room."""
        partial_bytes = self._record.follow(data)
        try:
            self._share.resize(partial_bytes if self._is_open else self._share.kept_bytes + len(data))
        except WireError:
            self._below.abort()
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep nothing, and pass on that the socket is gone."""
        self._share.resize(0)
        super().connection_lost(exc)

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
