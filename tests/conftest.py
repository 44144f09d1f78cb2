"""Fixtures that every room shares: a real Valkey and a real MongoDB server for each test process, empty for each test.

TEST_MONGO_URL names another MongoDB to test with; each test then has a database of its own there.
Whatever a test sends to MongoDB has to be known to MongoDB 4.0, or the test fails (`commands_seen`).
"""

from __future__ import annotations

import itertools
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import hypothesis
import pymongo
import pymongo.monitoring
import pytest
import redis
from commands_seen import CommandsSeen

from local.mongodb import EmbeddedMongoDB
from local.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


hypothesis.settings.register_profile("busy machine", deadline=None)
hypothesis.settings.load_profile("busy machine")

MONGO_COMMANDS = CommandsSeen()
pymongo.monitoring.register(MONGO_COMMANDS)


@pytest.fixture(autouse=True)
def mongo_commands() -> Iterator[CommandsSeen]:
    """What this process has sent to MongoDB; nothing of it newer than 4.0."""
    yield MONGO_COMMANDS
    problems, MONGO_COMMANDS.problems = MONGO_COMMANDS.problems, []
    assert not problems


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(Path(tmp_path_factory.mktemp("valkey")))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """URL of an empty store, shared with nobody else while the test runs."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def mongo_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("TEST_MONGO_URL", "")  # noqa: TID251
    if given:
        yield given
        return
    server = EmbeddedMongoDB(Path(tmp_path_factory.mktemp("mongodb")))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def mongo_url(mongo_server_url: str) -> Iterator[str]:
    """URL of an empty database, shared with nobody else; dropped after the test."""
    name = f"test-{uuid4().hex[:12]}"
    parts = urlsplit(mongo_server_url)
    url = parts._replace(path=f"/{name}").geturl()
    client: pymongo.MongoClient[dict[str, Any]]
    yield url
    with pymongo.MongoClient(url) as client:
        client.drop_database(name)


@pytest.fixture
def name() -> Callable[[], str]:
    """Make names (client ids, topics) that no other test uses; 23 characters at most, as MQTT 3.1 asks."""
    prefix, numbers = secrets.token_hex(5), itertools.count()
    return lambda: f"t{prefix}-{next(numbers)}"
