"""The projector's process beside the broker: what was acknowledged just before a kill is shown without a broker."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import redis

from store import schema
from store.model import Message, encode_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

import pytest

DEADLINE_S = 20


@pytest.fixture
def process(redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}
    with subprocess.Popen([sys.executable, "-m", "broker.projector"], stdin=subprocess.PIPE, env=environ) as started:
        yield started
        started.kill()


def commit(store: redis.Redis, number: int) -> None:
    store.xadd(
        schema.LOG, {schema.LOG_FIELD: encode_frame([Message("devices/a/t", "c", 1_700_000_000_000 + number, 1, b"1")])}
    )


def await_messages(store: redis.Redis, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while int(store.hget(schema.device("a", "record"), "messages") or 0) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_projects_what_is_in_the_log_when_its_broker_is_gone(
    redis_url: str, process: subprocess.Popen[bytes]
) -> None:
    with redis.Redis.from_url(redis_url) as store:
        commit(store, 0)
        await_messages(store, 1)
        for number in range(1, 50):
            commit(store, number)
        assert process.stdin is not None
        process.stdin.close()  # as the kernel does when the broker is killed
        assert process.wait(DEADLINE_S) == 0
        assert int(store.hget(schema.device("a", "record"), "messages") or 0) == 50


def test_sigterm_ends_it_and_frees_the_lease(redis_url: str, process: subprocess.Popen[bytes]) -> None:
    with redis.Redis.from_url(redis_url) as store:
        commit(store, 0)
        await_messages(store, 1)
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        assert not store.exists(schema.PROJECTOR)
