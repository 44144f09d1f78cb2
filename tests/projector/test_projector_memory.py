"""The projector's process stays within its part of a container's memory, whatever the log holds, and gets past it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import redis

from broker.memory_plan import PROJECTOR_BYTES
from store import schema
from store.model import Message, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 100
RUNNING_S = 2.0
ENTRY_BYTES = 1024 * 1024  # of a commit, and one message more
MIB = 1024 * 1024
PACKET_BYTES = 2_000_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def small(number: int) -> Message:
    return Message(f"devices/d{number % 2000}/t", f"c{number % 2000}", now_ms(), 1, b'{"t": %d, "h": 40.5}' % number)


def new_device(number: int) -> Message:
    return Message(f"devices/{number:050}/t", f"c{number}", now_ms(), 1, b'{"t": 21.5}')


def many_fields(number: int) -> Message:
    """As many fields as possible, other ones in each message."""
    fields = {f"{number}-{'x' * 20}{n}": n / 4 for n in range(64)}
    return Message(f"devices/d{number % 500}/t", "c", now_ms(), 1, json.dumps(fields).encode())


def huge_document(number: int) -> Message:
    payload = json.dumps({f"f{n}": n for n in range(100_000)}).encode()
    return Message(f"devices/d{number % 3}/t", "c", now_ms(), 1, payload)


def nested(number: int) -> Message:
    return Message(f"devices/d{number % 3}/t", "c", now_ms(), 1, b"[" + b'{"":{}},' * 200_000 + b"0]")


def large(number: int) -> Message:
    return Message(f"devices/d{number}/t", "c", now_ms(), 1, bytes([number % 256]) * (PACKET_BYTES - 100))


def long_topic(number: int) -> Message:
    return Message(f"devices/d/{number:06}{'é' * 30_000}", "c", now_ms(), 1, b"1")


LOGS: dict[str, tuple[Callable[[int], Message], int]] = {
    "small messages": (small, 150_000),
    "new devices": (new_device, 100_000),
    "many fields": (many_fields, 6_000),
    "huge documents": (huge_document, 20),
    "nested documents": (nested, 20),
    "large messages": (large, 100),
    "long topics": (long_topic, 1_000),
}


@pytest.fixture
def process(redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true", "LOG_KEEP_BYTES": str(64 * 1024)}
    with subprocess.Popen([sys.executable, "-m", "broker.projector"], stdin=subprocess.PIPE, env=environ) as started:
        yield started
        started.kill()


def commit_all(store: redis.Redis, make: Callable[[int], Message], count: int) -> None:
    """Append messages as commits would: ENTRY_BYTES and one message at most, 8192 messages at most."""
    some: list[Message] = []
    size = 0
    for number in range(count):
        some.append(make(number))
        size += len(some[-1].payload) + len(some[-1].topic_name.encode()) + 64
        if size >= ENTRY_BYTES or len(some) == 8192 or number == count - 1:
            store.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(some)})
            some, size = [], 0


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


@pytest.mark.parametrize("name", LOGS)
def test_it_takes_any_log_within_its_memory(redis_url: str, process: subprocess.Popen[bytes], name: str) -> None:
    make, count = LOGS[name]
    with redis.Redis.from_url(redis_url) as store:
        store.set(schema.PROJECTOR, "another")  # until there is a backlog
        commit_all(store, make, count)
        store.delete(schema.PROJECTOR)
        deadline = time.monotonic() + DEADLINE_S
        while int(store.hget(schema.FLEET, "messages") or 0) != count:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert peak_bytes(process) < PROJECTOR_BYTES
