"""One broker in the test's own process: all of its parts but the listening socket, on a loop and a store that the test moves."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import settings
from broker import application
from broker.net.connection import Connection
from broker.net.door import Doors
from broker.session.message_broker import MessageBroker
from tests.delivery.stepped_store import StoreConnection
from tests.delivery.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from tests.delivery.stepped_store import SteppedStore
    from tests.delivery.virtual_loop import Clock

NODE_TIMEOUT_S = 2
SETTINGS = {"REDIS_URL": "unix:///stepped", "ALLOW_ANONYMOUS": "true", "NODE_TIMEOUT_S": f"{NODE_TIMEOUT_S}"}
CONFIGURATION = settings.load(SETTINGS, "tcp")


class DeviceSocket(asyncio.Transport):
    """Both ends of a device's network connection: nothing is lost on it, and nothing is bounded."""

    def __init__(self, loop: VirtualLoop, connection: Connection) -> None:
        super().__init__()
        self._loop = loop
        self._connection = connection
        self._to_broker: deque[bytes] = deque()
        self._is_reading = self._is_open = True
        self._has_ended = False
        self._from_broker = bytearray()
        self.is_closed = False
        """Whether the device sees that the connection has ended, behind what it has received."""
        connection.connection_made(self)

    @property
    def is_closed_by_broker(self) -> bool:
        """Whether it ended because the broker wanted it to."""
        return self.is_closed and not self._has_ended

    # --- the broker's side

    def write(self, data: Any) -> None:
        self._from_broker += data

    def close(self) -> None:
        if self._is_open:
            self._is_open, self.is_closed = False, True
            self._loop.call_soon(self._connection.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return not self._is_open

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    # --- the device's side

    def send(self, data: bytes) -> None:
        """Send bytes; they arrive with the next `work`."""
        self._to_broker.append(data)

    def end(self) -> None:
        """Lose the connection, as the broker notices once it has read what was sent."""
        self.is_closed = self._has_ended = True

    def take(self) -> bytes:
        """Return what has come from the broker."""
        data = bytes(self._from_broker)
        self._from_broker.clear()
        return data

    def work(self) -> bool:
        """Bring the broker what was sent; False: it reads nothing now, or there is nothing."""
        if not self._is_open or not self._is_reading or not (self._to_broker or self._has_ended):
            return False
        if self._to_broker:
            self._loop.call_soon(self._connection.data_received, self._to_broker.popleft())
        else:
            self.close()
        return True


class ModelNode:
    """A broker from its start to its end. `is_holding_requests`, `is_holding_answers`: of what it asks the store."""

    def __init__(self, node_id: str, store: SteppedStore, clock: Clock) -> None:
        self.node_id = node_id
        self.is_holding_requests = self.is_holding_answers = False
        self.may_be_dead_since_s: float | None = None
        """Since when its clients are gone, if the other nodes have declared it dead."""
        self._is_running = True
        self.errors: list[str] = []
        self._clock = clock
        self._store = store
        self.store_connections: list[StoreConnection] = []
        self._sockets: list[DeviceSocket] = []
        self._loop = VirtualLoop(clock, self._connect)
        self._loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
        self._loop.call_soon(self._start)
        self._loop.run_due()

    def _connect(self, protocol: asyncio.Protocol) -> StoreConnection:
        self.store_connections.append(StoreConnection(self._store, self._loop, protocol, self._clock))
        return self.store_connections[-1]

    def _start(self) -> None:
        times = {"monotonic": self._clock.monotonic, "wall_ms": self._clock.wall_ms}
        replaced = {
            "new_node_id": lambda: self.node_id,
            "wall_ms": self._clock.wall_ms,
            "MessageBroker": partial(MessageBroker, **times),
        }
        with mock.patch.multiple(application, **replaced):
            self._application = app = application.Application(CONFIGURATION)
            app._doors = Doors.of(CONFIGURATION)
            app._build()
        app._has_looked_at_store = True
        runs = (app._link.run(), app._reader.run(), app._membership.run(), app._server.sweep_forever())
        self._tasks = [self._loop.create_task(each) for each in runs]

    @property
    def broker(self) -> MessageBroker:
        """What all connections share."""
        return self._application._broker

    @property
    def is_holding(self) -> bool:
        """Whether anything of what it asks the store may be held."""
        return self.is_holding_requests or self.is_holding_answers

    @property
    def is_busy(self) -> bool:
        """Whether anything of what it was sent may not be stored yet."""
        return self._is_running and not self._application._committer._idle.is_set()

    @property
    def is_fenced(self) -> bool:
        """Whether the other nodes have declared this one dead."""
        return self._application._fenced.is_set()

    def hold(self, *, requests: bool = False, answers: bool = False) -> None:
        """Hold what it asks the store from now on, or the answers."""
        if self.may_be_dead_since_s is None:
            self.may_be_dead_since_s = self._clock.now_s
        self.is_holding_requests, self.is_holding_answers = requests, answers

    def release(self) -> None:
        """Hold nothing more."""
        since_s = self.may_be_dead_since_s
        if since_s is not None and self._clock.now_s < since_s + NODE_TIMEOUT_S:
            self.may_be_dead_since_s = None
        self.is_holding_requests = self.is_holding_answers = False

    def set_full(self, *, is_full: bool) -> None:
        """Let the node find the store full, or not."""
        self._application._room.is_full = is_full

    def connect(self) -> DeviceSocket:
        """Open a network connection."""
        self._sockets.append(DeviceSocket(self._loop, Connection(self._application._server)))
        return self._sockets[-1]

    def cut(self) -> None:
        """Break the connections to the store; what was on its way may still be executed."""
        for each in self.store_connections:
            each.abort()

    def kill(self, requests_executed: int) -> None:
        """End at once. The store executes so many of the requests that were on their way."""
        for each in self.store_connections:
            while requests_executed and each.execute():
                requests_executed -= 1
            each.is_open = False
        for socket in self._sockets:
            socket.end()
        self._loop.abandon()
        self._is_running = False

    # --- going on

    def work(self) -> bool:
        """Do all that can be done without the store; return whether there was anything."""
        is_busy = sum(each.work() for each in self._sockets) > 0
        self._loop.run_due()
        failed = [each for each in self._tasks if each.done()]
        assert not failed, f"a part of {self.node_id} has ended: {failed}"
        assert not self.errors, self.errors
        return is_busy

    def step(self) -> bool:
        """Have the store do one request of this node, or the node take one answer, whatever is held."""
        return self._deliver() or self._execute()

    def flow(self) -> bool:
        """The same for what is not held."""
        if not self.is_holding_answers and self._deliver():
            return True
        return not self.is_holding_requests and self._execute()

    def _execute(self) -> bool:
        return any(each.execute() for each in self.store_connections)

    def _deliver(self) -> bool:
        return any(each.deliver() for each in self.store_connections)


class ErrorLog(logging.Handler):
    """Collects what brokers log as errors: in the model there is no reason for any."""

    EXPECTED = ("declared this one dead", "given this one up")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if not any(each in line for each in self.EXPECTED):
            self.lines.append(line)
