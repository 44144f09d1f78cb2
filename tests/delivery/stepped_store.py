"""A real Valkey that executes one request of one connection at a time, when the test says so.

    broker --request--> [ waits ] --execute--> Valkey --> [ answer waits ] --deliver--> broker

Each connection can be held on either side. What a node has sent before it is killed may still be executed, as a server does
with what is in its sockets. Scripts see the clock of the test instead of the server's.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    from tests.delivery.virtual_loop import Clock, VirtualLoop

CHUNK_BYTES = 65_536
TIME_KEY = "{log}:time-of-the-test"
TIME_CALL = "redis.call('TIME')"
NOTHING = b"*-1\r\n"
READS_AT_ONCE = 20


class SteppedStore:
    """One connection to a Valkey at a Unix socket, shared by all nodes."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._clock = clock
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._shas: dict[bytes, bytes] = {}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def begin(self) -> None:
        """Forget all data."""
        self.call("FLUSHALL", "SYNC")
        self.set_time()

    def set_time(self) -> None:
        """Let scripts see the time that it is."""
        wall_ms = self._clock.wall_ms()
        self.call("HSET", TIME_KEY, "s", wall_ms // 1000, "us", wall_ms % 1000 * 1000)

    def call(self, *command: Any) -> Any:
        """Execute a command and return its reply."""
        reader = hiredis.Reader()
        reader.feed(self.execute(command))
        return reader.gets()

    def execute(self, command: Any) -> bytes:
        """Execute a command and return the bytes of its reply."""
        self._socket.sendall(hiredis.pack_command(self._as_tested(command)))
        reader, received = hiredis.Reader(notEnoughData=NOTHING), b""
        while True:
            data = self._socket.recv(CHUNK_BYTES)
            assert data, "the store has ended"
            received += data
            reader.feed(data)
            if reader.gets() is not NOTHING:
                return received

    def _as_tested(self, command: Any) -> tuple[Any, ...]:
        name = command[0]
        if name == b"SCRIPT":
            source = command[2].decode()
            tested = source.replace(TIME_CALL, f"redis.call('HMGET', '{TIME_KEY}', 's', 'us')")
            self._shas[_sha(source)] = _sha(tested)
            return (*command[:2], tested)
        if name == b"EVALSHA":
            return (name, self._shas[command[1]], *command[2:])
        if name == b"XREAD" and b"BLOCK" in command:
            place = command.index(b"BLOCK")
            return (*command[:place], *command[place + 2 :])
        return tuple(command)


def _sha(source: str) -> bytes:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()


class StoreConnection(asyncio.Transport):
    """A broker's side of one connection: what is written waits until `execute`, its answer until `deliver`."""

    def __init__(self, store: SteppedStore, loop: VirtualLoop, protocol: asyncio.Protocol, clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._loop = loop
        self._protocol = protocol
        self._clock = clock
        self._requests: deque[list[Any]] = deque()
        self._answers: deque[bytes] = deque()
        self._blocked_since_s = self._read_s = 0.0
        self._reads = 0
        self.is_open = True

    @property
    def has_requests(self) -> bool:
        """Whether the store has something to do."""
        return bool(self._requests)

    def write(self, data: Any) -> None:
        reader = hiredis.Reader()
        reader.feed(data)
        commands: list[Any] = []
        while (command := reader.gets()) is not False:
            commands.append(command)
        self._requests.append(commands)

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return not self.is_open

    # --- what the test decides

    def execute(self) -> bool:
        """Have the store do the next request, which is all that was written at once; False: there is none, or it blocks."""
        if not self._requests:
            return False
        commands = self._requests[0]
        if commands[0][0] == b"XREAD" and not self._may_read():
            return False
        answers = [self._store.execute(command) for command in commands]
        if commands[0][0] == b"XREAD" and answers == [NOTHING] and self._blocks(commands[0]):
            return False
        self._blocked_since_s = 0.0
        self._requests.popleft()
        self._answers.append(b"".join(answers))
        return True

    def _may_read(self) -> bool:
        """Whether it may read once more without time passing: it reads on and on while its node knows no routes."""
        if self._read_s != self._clock.now_s:
            self._read_s, self._reads = self._clock.now_s, 0
        self._reads += 1
        return self._reads <= READS_AT_ONCE

    def _blocks(self, command: list[bytes]) -> bool:
        self._blocked_since_s = self._blocked_since_s or self._clock.now_s
        block_s = int(command[command.index(b"BLOCK") + 1]) / 1000
        return self.is_open and self._clock.now_s < self._blocked_since_s + block_s

    def deliver(self) -> bool:
        """Let the broker have the next answer; False: there is none."""
        if not self._answers:
            return False
        answer = self._answers.popleft()
        if self.is_open:
            self._loop.call_soon(self._protocol.data_received, answer)
        return True
