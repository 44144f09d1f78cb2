"""A well-behaved MQTT 5 client that blocks, within a time limit: what the bystander and the service check are made of."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from emulator.hostile import packets
from emulator.hostile.packets import V5
from emulator.hostile.stream import PacketStream, after_length, answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from emulator.hostile.target import Target

READ_BYTES = 64 * 1024
FAILURE = 0x80


class ServiceError(Exception):
    """The broker did not do its part; the message says which, in a few words."""


@dataclass(frozen=True)
class Message:
    """One message that came."""

    topic: bytes
    payload: bytes
    is_retained: bool


class Client:
    """One connection. What comes in between is acknowledged and kept in `messages`. Raises ServiceError throughout."""

    def __init__(
        self, target: Target, client_id: str, *, is_clean: bool = True, expiry_s: int = 0, timeout_s: float = 5.0
    ) -> None:
        self.messages: deque[Message] = deque()
        self._timeout_s = timeout_s
        self._stream = PacketStream()
        self._packets: deque[tuple[int, bytes]] = deque()
        self._packet_ids = count(1)
        try:
            self.socket = socket.create_connection(target.broker, timeout_s)
        except OSError as error:
            raise ServiceError(f"no connection: {error.strerror or error}") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name, secret = target.username, target.password
        self.send(
            packets.connect(
                client_id.encode(), username=name, password=secret, version=V5, is_clean=is_clean, expiry_s=expiry_s
            )
        )
        try:
            self.is_session_present = self._accepted()
        except ServiceError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close without a goodbye."""
        self.socket.close()

    def leave(self, *, expiry_s: int = 0) -> None:
        """Disconnect in order; the session ends after `expiry_s`."""
        with suppress(ServiceError):
            self.send(packets.leave(expiry_s=expiry_s))
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1)
            while self.socket.recv(READ_BYTES):
                pass
        self.close()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe and wait for SUBACK."""
        self.send(packets.subscribe(next(self._packet_ids), [topic_filter.encode()], qos=qos, version=V5))
        body = self._expect(packets.SUBACK)
        if body[-1] >= FAILURE:
            raise ServiceError(f"SUBACK 0x{body[-1]:02X}")

    def publish(self, topic: str, payload: bytes, qos: int, *, is_retained: bool = False) -> None:
        """Publish at QoS 1 or 2 and wait until it is complete."""
        packet_id = next(self._packet_ids)
        words: dict[str, Any] = {"qos": qos, "packet_id": packet_id, "is_retained": is_retained, "version": V5}
        self.send(packets.publish(topic.encode(), payload, **words))
        self._expect_success(packets.PUBACK if qos == 1 else packets.PUBREC)
        if qos == 2:
            self.send(packets.acknowledge(packets.PUBREL, packet_id))
            self._expect_success(packets.PUBCOMP)

    def receive(self) -> Message:
        """Return the next message."""
        deadline_s = time.monotonic() + self._timeout_s
        while not self.messages:
            if not self._wait(deadline_s):
                raise ServiceError("a message did not come")
            self._packets.extend(self.pump())
        return self.messages.popleft()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self.socket.settimeout(self._timeout_s)
            self.socket.sendall(data)
        except OSError as error:
            raise ServiceError(f"nothing can be sent: {error.strerror or error}") from None

    def pump(self) -> Iterator[tuple[int, bytes]]:
        """Read what is there; yield packets other than PUBLISH and PUBREL, which are answered here."""
        try:
            data = self.socket.recv(READ_BYTES)
        except OSError as error:
            raise ServiceError(f"connection lost: {error.strerror or error}") from None
        if not data:
            raise ServiceError("connection closed")
        for first, body in self._stream.feed(data):
            kind = first >> 4
            if kind == packets.PUBLISH:
                self._take(first, body)
            elif kind == packets.PUBREL:
                self.send(packets.acknowledge(packets.PUBCOMP, int.from_bytes(body[:2], "big")))
            elif kind == packets.DISCONNECT:
                raise ServiceError(answers(first, body, V5)[0])
            else:
                yield first, body

    def _take(self, first: int, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        topic, qos = body[2:at], first >> 1 & 3
        packet_id = int.from_bytes(body[at : at + 2], "big")
        start = after_length(body, at + (2 if qos else 0))
        self.messages.append(Message(topic, body[start:], bool(first & 1)))
        if qos:
            self.send(packets.acknowledge(packets.PUBACK if qos == 1 else packets.PUBREC, packet_id))

    def _accepted(self) -> bool:
        body = self._expect(packets.CONNACK)
        if body[1]:
            raise ServiceError(f"CONNACK 0x{body[1]:02X}")
        return bool(body[0] & 1)

    def _expect(self, kind: int) -> bytes:
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            while self._packets:
                first, body = self._packets.popleft()
                if first >> 4 == kind:
                    return body
            if not self._wait(deadline_s):
                raise ServiceError(f"no {answers(kind << 4, bytes(4), 0)[0].split()[0]} within {self._timeout_s:g} s")
            self._packets.extend(self.pump())

    def _expect_success(self, kind: int) -> None:
        body = self._expect(kind)
        if len(body) > 2 and body[2] >= FAILURE:
            raise ServiceError(answers(kind << 4, body, V5)[0])

    def _wait(self, deadline_s: float) -> bool:
        return bool(select.select([self.socket], [], [], max(0.0, deadline_s - time.monotonic()))[0])
