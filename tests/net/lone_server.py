"""A server and its connections without sockets and without a store: transports that record, a committer that stores at once."""

# ruff: noqa: ARG002  doubles take what the real ones take

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from broker.accounts import Account
from broker.host.authentication import PasswordAuthenticator
from broker.memory_plan import SHARES_OF_REST, MemoryPlan
from broker.net.connection import Connection
from broker.net.door import Doors
from broker.net.server import Server
from broker.protocol.limits import ConnectionLimits
from broker.session.message_broker import MessageBroker
from broker.session.session import SessionLimits
from broker.wire.connect import Connect
from broker.wire.packet_types import ProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.commit.batch import Publisher
    from broker.wire.connect import Will
    from store.model import Message

MIB = 1024 * 1024


class Presence:
    """Nobody asks who is connected."""

    def connected(self, client_id: str) -> None: ...

    def published(self, client_id: str, topic_name: str) -> None: ...

    def disconnected(self, client_id: str) -> None: ...


class InstantCommitter:
    """Stores at once; `messages` is what it was given."""

    is_store_failing = is_filling = is_holding = False
    dropped = added = backlog_bytes = 0

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add(
        self, message: Message, publisher: Publisher | None = None, packet_id: int = 0, operations: Iterable[Any] = ()
    ) -> None:
        self.messages.append(message)
        if publisher is not None:
            publisher.acknowledge_publish(packet_id, message.qos)

    def set_will(self, change: Any) -> None:
        pass

    def notify_stored(self, reader: Any, size_bytes: int, *, has_messages: bool) -> bool:
        return False

    def operate(self, operations: Iterable[Any], then: Callable[[], None] | None = None) -> None:
        if then is not None:
            then()

    def own(self, change: Any, then: Callable[[], None]) -> None:
        then()


class SlowCommitter(InstantCommitter):
    """Stores when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[tuple[Any, int]] = []

    def add(
        self, message: Message, publisher: Publisher | None = None, packet_id: int = 0, operations: Iterable[Any] = ()
    ) -> None:
        self.messages.append(message)
        self.added += 1
        self.backlog_bytes += len(message.payload) + 300

    def notify_stored(self, reader: Any, size_bytes: int, *, has_messages: bool) -> bool:
        self.readers.append((reader, size_bytes))
        return True

    def store(self, count: int | None = None) -> None:
        readers, self.readers = self.readers[:count], self.readers[len(self.readers) if count is None else count :]
        for reader, size_bytes in readers:
            self.backlog_bytes -= size_bytes
            reader.stored(size_bytes)


class RecordingTransport(asyncio.Transport):
    """Keeps what is written in `written`; `taken_bytes` of it are what the socket has taken."""

    def __init__(self, protocol: Connection) -> None:
        super().__init__()
        self.protocol = protocol
        self.written: list[bytes] = []
        self.is_paused = self.is_closed = self.is_aborted = False
        self._high_bytes = 64 * 1024
        self._is_protocol_paused = False
        self.taken_bytes: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_bytes = 64 * 1024 if high is None else high
        self._tell()

    def get_write_buffer_size(self) -> int:
        written = sum(map(len, self.written))
        return 0 if self.taken_bytes is None else written - self.taken_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        self._tell()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.written += [bytes(each) for each in list_of_data]
        self._tell()

    def take(self, size_bytes: int) -> None:
        """Let the socket take more."""
        assert self.taken_bytes is not None
        self.taken_bytes += min(size_bytes, self.get_write_buffer_size())
        self._tell()

    def _tell(self) -> None:
        size = self.get_write_buffer_size()
        if size > self._high_bytes and not self._is_protocol_paused:
            self._is_protocol_paused = True
            self.protocol.pause_writing()
        elif self._is_protocol_paused and size <= self._high_bytes // 4:
            self._is_protocol_paused = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class LoneServer(Server):
    """A server that nobody can reach, and the connections that a test opens on it."""

    def __init__(
        self, plan: MemoryPlan | None = None, committer: InstantCommitter | None = None, **settings: Any
    ) -> None:
        self.committer = committer or InstantCommitter()
        self.now = 100.0
        broker = MessageBroker(
            node_id="node",
            connection_limits=ConnectionLimits(),
            session_limits=settings.pop("session_limits", SessionLimits()),
            max_sessions=10_000,
            max_session_expiry_s=3600,
            authenticator=PasswordAuthenticator("", "", allow_anonymous=True),
            presence=Presence(),
            plan=plan or lone_plan(),
            monotonic=lambda: self.now,
            wall_ms=lambda: 0,
        )
        broker.committer = self.committer  # type: ignore[assignment]
        doors = Doors(tls=None, allows_plain_text=True, max_message_bytes=1_000_000, page="")
        options = {"max_connections": 1000, "receive_buffer_bytes": MIB, "send_buffer_bytes": MIB, "send_timeout_s": 20}
        super().__init__(broker, doors, **{**options, **settings})
        broker.sessions.backing = type("Backing", (), {"committer": self.committer})()  # type: ignore[assignment]

    async def connect(
        self, client_id: str, version: ProtocolVersion = ProtocolVersion.V3_1_1, will: Will | None = None
    ) -> tuple[Connection, RecordingTransport]:
        """Open a connection and have its CONNECT accepted."""
        connection = Connection(self)
        transport = RecordingTransport(connection)
        connection.connection_made(transport)
        connect = Connect(version, client_id, keep_alive=10, will=will)
        connection.data_received(connect.encode(version))
        while not transport.written and not transport.is_closed:  # noqa: ASYNC110  turns of the loop, no time
            await asyncio.sleep(0)
        transport.written.clear()
        await asyncio.sleep(0)
        return connection, transport


async def turns(count: int = 1) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def lone_plan(**limit_bytes: int) -> MemoryPlan:
    """Return accounts of 8 MiB each, others where they are named."""
    return MemoryPlan(**{name: Account(name, limit_bytes.get(name, 8 * MIB)) for name in SHARES_OF_REST}, total_bytes=0)
