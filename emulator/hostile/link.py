"""One attacking connection: bytes out as fast as they are taken, answers in, counted. It never blocks."""

from __future__ import annotations

import selectors
import socket
import struct
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.packets import V311
from emulator.hostile.stream import PacketStream, answers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

READ_BYTES = WRITE_BYTES = 256 * 1024
SMALL_BUFFER_BYTES = 4096
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s


class Link:
    """A TCP connection on its way to `address`. `handle` is to be called for what the selector reports.

    `first` is sent at once; with `waits` the rest follows when CONNACK has come. Answers that are packets of `version`
    add to `counts` by name; with version 0 they are not read as MQTT.
    """

    def __init__(
        self,
        address: tuple[str, int],
        selector: selectors.BaseSelector,
        counts: Counter[str],
        first: bytes = b"",
        *,
        version: int = V311,
        waits: bool = True,
        has_small_buffer: bool = False,
    ) -> None:
        self.is_open = True
        self.is_accepted = False
        self.reads = True
        self.acknowledges = False
        self.on_bytes: Callable[[bytes], None] = lambda _: None
        self._selector, self._counts, self._version, self._waits = selector, counts, version, waits
        self._stream = PacketStream()
        self._out = memoryview(first)
        self._more: Iterator[bytes] = iter(())
        self._is_connected = False
        self._events = 0
        self._socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if has_small_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        try:
            self._socket.connect_ex(address)
        except OSError:
            self._end("refused")
        self._watch()

    @property
    def is_opening(self) -> bool:
        """Whether nothing is known yet of what becomes of it."""
        return self.is_open and not (self.is_accepted if self._waits else self._is_connected)

    @property
    def has_more(self) -> bool:
        """Whether bytes wait to be sent."""
        if not self.is_open:
            return False
        if not self._out and not (self._waits and not self.is_accepted):
            self._refill()
        return bool(self._out)

    def send(self, *chunks: bytes) -> None:
        """Send these after what waits."""
        self.send_all(chunks)

    def send_all(self, chunks: Iterable[bytes]) -> None:
        """Send these after what waits; each is made when its turn comes."""
        self._more = chain(self._more, chunks)
        self._watch()

    def ignore(self) -> None:
        """Read nothing from now on: what the server sends stays with it."""
        self.reads = False
        self._watch()

    def close(self) -> None:
        """Close without a goodbye."""
        self._end("")

    def reset(self) -> None:
        """Close with a TCP reset."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._end("")

    def handle(self, events: int) -> int:
        """Do what can be done; return how many bytes went or came."""
        moved = 0
        try:
            if not self._is_connected:
                self._conclude_connect()
            if self.is_open and events & selectors.EVENT_WRITE:
                moved += self._write()
            if self.is_open and events & selectors.EVENT_READ:
                moved += self._read()
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            self._end("refused")
        except (OSError, ValueError):
            self._end("reset")
        self._watch()
        return moved

    def _conclude_connect(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise ConnectionRefusedError if error == 111 else OSError(error, "no connection")
        self._is_connected = True
        self._counts["connected"] += 1

    def _write(self) -> int:
        if not self.has_more:
            return 0
        sent = self._socket.send(self._out)
        self._out = self._out[sent:]
        return sent

    def _refill(self) -> None:
        gathered = bytearray()
        for chunk in self._more:
            gathered += chunk
            if len(gathered) >= WRITE_BYTES:
                break
        self._out = memoryview(bytes(gathered))

    def _read(self) -> int:
        data = self._socket.recv(READ_BYTES)
        if not data:
            self._end("closed")
            return 0
        if self._version:
            for first, body in self._stream.feed(data):
                self._take(first, body)
        else:
            self.on_bytes(data)
        return len(data)

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == packets.PUBLISH:
            self._counts["PUBLISH"] += 1
            if self.acknowledges:
                self._acknowledge(first, body)
            return
        self._counts.update(answers(first, body, self._version))
        self.is_accepted = self.is_accepted or (kind == packets.CONNACK and body[1] == 0)

    def _acknowledge(self, first: int, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        if first & 0x06:
            kind = packets.PUBACK if first & 0x02 else packets.PUBREC
            self.send(packets.acknowledge(kind, int.from_bytes(body[at : at + 2], "big")))

    def _end(self, how: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if how:
            self._counts[how] += 1
        self._watch()
        self._socket.close()
        self._more = iter(())
        self._out = memoryview(b"")

    def _watch(self) -> None:
        events = 0
        if self.is_open:
            wants_write = not self._is_connected or self.has_more
            events = (selectors.EVENT_WRITE if wants_write else 0) | (selectors.EVENT_READ if self.reads else 0)
        if events == self._events:
            return
        if not events:
            self._selector.unregister(self._socket)
        elif not self._events:
            self._selector.register(self._socket, events, self)
        else:
            self._selector.modify(self._socket, events, self)
        self._events = events
