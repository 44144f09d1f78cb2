"""What the tests ask of a client that somebody else wrote; each library has an adapter that does it."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 15.0
LASTING_S = 600
USERNAME, PASSWORD = "device", "right-password"  # the broker knows these
V5 = 5


class RefusedError(Exception):
    """The broker refused: `code` is the return or reason code it gave."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:02x}")
        self.code = code


@dataclass(frozen=True)
class Will:
    """The will of a CONNECT; `properties` are those of MQTT 5."""

    topic_name: str
    payload: bytes
    qos: int = 0
    is_retain: bool = False
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Connect:
    """Where a client connects to and what its CONNECT says. `door` is tcp, tls, ws or wss."""

    host: str
    port: int
    version: int
    client_id: str
    door: str = "tcp"
    authority: Path | None = None
    username: str | None = None
    password: str | None = None
    keep_alive_s: int = 60
    is_lasting: bool = False
    will: Will | None = None
    receive_maximum: int | None = None
    reconnects: bool = False

    @property
    def properties(self) -> dict[str, Any]:
        """The properties of an MQTT 5 CONNECT."""
        wanted = {"session_expiry_interval": LASTING_S if self.is_lasting else None}
        wanted["receive_maximum"] = self.receive_maximum
        return {name: value for name, value in wanted.items() if value is not None and self.version == V5}


@dataclass(frozen=True)
class Received:
    """A message as its receiver saw it; `properties` by the specification's names, `user_property` as a list of pairs."""

    topic_name: str
    payload: bytes
    qos: int
    is_retain: bool
    properties: dict[str, Any]


@dataclass(frozen=True)
class Subscription:
    """A subscription and its options; all but the QoS need MQTT 5."""

    topic_filter: str
    qos: int = 0
    is_no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int | None = None


class ForeignClient(ABC):
    """One client. Methods return when the broker has answered, and fail after `DEADLINE_S`."""

    def __init__(self, options: Connect) -> None:
        self.options = options
        self.ended = threading.Event()
        self.end_reason_code: int | None = None
        self._received: queue.Queue[Received] = queue.Queue()

    @abstractmethod
    def connect(self) -> bool:
        """Connect and tell whether a session was present. Raises RefusedError."""

    @abstractmethod
    def start_publish(
        self, topic_name: str, payload: bytes, qos: int = 0, *, is_retain: bool = False, **properties: Any
    ) -> None:
        """Publish without waiting for the answer."""

    @abstractmethod
    def await_published(self) -> None:
        """Return when every publish that was started is acknowledged."""

    @abstractmethod
    def subscribe_with(self, subscription: Subscription) -> int:
        """Subscribe and return the code that SUBACK has for it."""

    @abstractmethod
    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe."""

    @abstractmethod
    def disconnect(self) -> None:
        """Send DISCONNECT and close; harmless when the connection has ended."""

    def publish(
        self, topic_name: str, payload: bytes, qos: int = 0, *, is_retain: bool = False, **properties: Any
    ) -> None:
        """Publish and wait for the acknowledgement."""
        self.start_publish(topic_name, payload, qos, is_retain=is_retain, **properties)
        self.await_published()

    def subscribe(self, topic_filter: str, qos: int = 0) -> None:
        """Subscribe; the QoS has to be granted."""
        assert self.subscribe_with(Subscription(topic_filter, qos)) == qos

    def next(self) -> Received:
        """Return the next message."""
        return self._received.get(timeout=DEADLINE_S)

    def take(self, count: int) -> list[Received]:
        """Return the next `count` messages."""
        return [self.next() for _ in range(count)]

    def payloads_until(self, last: bytes) -> list[bytes]:
        """Return the payloads that come, up to the first `last` and without it."""
        payloads: list[bytes] = []
        while (payload := self.next().payload) != last:
            payloads.append(payload)
        return payloads
