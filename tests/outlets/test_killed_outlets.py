"""kill -9 of the process that writes, and of MongoDB, at random points: afterwards each message is there once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import redis
from broker_process import eventually
from ingest import DEVICES, FOR_EVER, commit, reading, settings_for
from recount import assert_holds_exactly

from local.mongodb import EmbeddedMongoDB
from store import schema
from store.mongo import MESSAGES, connect_mongo
from store.outlet_state import MONGODB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from broker.outlets.outlet import LoggedMessage
    from store.documents import Document

DEADLINE_S = 60
SHORT_WAITS = "socketTimeoutMS=5000&serverSelectionTimeoutMS=500"


class OutletsProcess:
    """`python -m broker.outlets`, which may be killed and started again."""

    def __init__(self, redis_url: str, mongo_url: str) -> None:
        self._environ = {"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true", **FOR_EVER}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "broker.outlets"], stdin=subprocess.PIPE, env=self._environ
        )
        return self._process

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


class Ingest:
    """Commits messages as a broker does, and remembers them."""

    def __init__(self, store: redis.Redis) -> None:
        self.store = store
        self.messages: list[LoggedMessage] = []

    def publish(self, count: int) -> None:
        first = len(self.messages)
        for start in range(first, first + count, 25):
            some = [reading(n) for n in range(start, start + 25)]
            ids = commit(self.store, some)
            self.messages += [(ids[n], f"d{(start + n) % DEVICES}", some[n]) for n in range(25)]

    @property
    def written(self) -> int:
        return int(self.store.hget(schema.outlet(MONGODB), "written") or 0)

    def await_written(self) -> None:
        eventually(lambda: self.written == len(self.messages), "everything is written", DEADLINE_S)


@pytest.fixture
def ingest(redis_url: str) -> Iterator[Ingest]:
    with redis.Redis.from_url(redis_url) as store:
        yield Ingest(store)


@pytest.fixture
def mongodb(tmp_path: Path) -> Iterator[EmbeddedMongoDB]:
    server = EmbeddedMongoDB(tmp_path / "mongodb")
    server.start()
    yield server
    server.kill()  # one that was paused may not end when it is asked to


@pytest.fixture
def mongo_url(mongodb: EmbeddedMongoDB) -> str:
    return f"{mongodb.url}/test?{SHORT_WAITS}"


@pytest.fixture
def database(redis_url: str, mongo_url: str) -> Iterator[Database[Document]]:
    patient = mongo_url.replace(SHORT_WAITS, "serverSelectionTimeoutMS=30000")  # the short waits are for the process
    database = connect_mongo(settings_for(redis_url, patient))
    yield database
    database.client.close()


@pytest.fixture
def outlets(redis_url: str, mongo_url: str) -> Iterator[OutletsProcess]:
    process = OutletsProcess(redis_url, mongo_url)
    yield process
    process.kill()


def await_point(chance: random.Random, database: Database[Document], before: int) -> None:
    """Return when some documents are there that were not before, or soon after: positions and rollups then are not."""
    eventually(lambda: database[MESSAGES].estimated_document_count() > before, "documents come", DEADLINE_S)
    time.sleep(chance.choice([0, chance.uniform(0, 0.3)]))


def test_the_process_killed_again_and_again_each_message_is_there_once(
    ingest: Ingest, outlets: OutletsProcess, database: Database[Document]
) -> None:
    chance = random.Random(11)
    for _ in range(12):
        before = database[MESSAGES].estimated_document_count()
        ingest.publish(chance.choice([25, 200, 700]))
        outlets.start()
        await_point(chance, database, before)
        outlets.kill()
        ingest.store.delete(schema.outlet_lease(MONGODB))  # it would pass in 5 s
    ingest.publish(100)
    outlets.start()
    ingest.await_written()
    assert_holds_exactly(database, ingest.messages)


def test_mongodb_killed_again_and_again_each_message_is_there_once(
    ingest: Ingest, outlets: OutletsProcess, mongodb: EmbeddedMongoDB, database: Database[Document]
) -> None:
    chance = random.Random(12)
    outlets.start()
    for _ in range(6):
        before = database[MESSAGES].estimated_document_count()
        ingest.publish(chance.choice([25, 200, 700]))
        await_point(chance, database, before)
        mongodb.kill()
        ingest.publish(100)
        mongodb.start()
    ingest.await_written()
    assert_holds_exactly(database, ingest.messages)


def test_mongodb_that_does_not_answer_is_left_and_found_again(
    ingest: Ingest, outlets: OutletsProcess, mongodb: EmbeddedMongoDB, database: Database[Document]
) -> None:
    def error() -> bytes:
        return ingest.store.hget(schema.outlet(MONGODB), "error") or b""

    outlets.start()
    ingest.publish(100)
    ingest.await_written()
    mongodb.pause()
    ingest.publish(100)
    eventually(lambda: error() != b"", "the process says that MongoDB does not answer", DEADLINE_S)
    mongodb.resume()
    ingest.await_written()
    eventually(lambda: error() == b"", "it says that all is well", DEADLINE_S)
    assert_holds_exactly(database, ingest.messages)


@pytest.mark.parametrize("state", ["up", "killed", "paused"])
def test_it_ends_with_its_broker_and_on_sigterm(
    ingest: Ingest, outlets: OutletsProcess, mongodb: EmbeddedMongoDB, state: str
) -> None:
    def at_work() -> bool:
        said = int(ingest.store.hget(schema.outlet(MONGODB), "updated_ms") or 0)
        return said > started_ms if state != "paused" else ingest.store.exists(schema.outlet_lease(MONGODB)) == 1

    {"up": lambda: None, "killed": mongodb.kill, "paused": mongodb.pause}[state]()
    for end in (lambda process: process.send_signal(signal.SIGTERM), lambda process: process.stdin.close()):
        started_ms = time.time_ns() // 1_000_000
        ingest.publish(25)
        process = outlets.start()
        eventually(at_work, "it has written, or knows that it cannot, or waits", DEADLINE_S)
        end(process)
        assert process.wait(DEADLINE_S) == 0
        assert not ingest.store.exists(schema.outlet_lease(MONGODB))
        with contextlib.suppress(BrokenPipeError, ValueError):
            process.communicate()
