"""What is asked of MongoDB is bounded; without it, Redis still answers and says what is missing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from pymongo import monitoring
from two_stores import NOW_MS, archive, messages, project

from local.mongodb import EmbeddedMongoDB
from settings import load
from store.answers import LongHistoryUnavailable
from store.connection import connect
from store.documents import CODEC_OPTIONS
from store.long_history_query import MAX_COUNTED, RETRY_S, LongHistoryQuery
from store.model import START, MessageId
from store.query import Query
from store.scan import LAST_ID, MessageFilter, Range
from store.schema import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settings import Settings

ROWS = messages(60, seed=8, days=3)
EVERYTHING = Range(START, LAST_ID)


class Recorder(monitoring.CommandListener):
    """Keeps the commands that ask for data."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        raise AssertionError(event.failure)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def long_history(mongo_url: str, recorder: Recorder) -> Iterator[LongHistoryQuery]:
    asyncio.run(archive(settings_for("redis://unused", mongo_url), ROWS))
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(mongo_url, event_listeners=[recorder]) as client:
        yield LongHistoryQuery(client.get_default_database(codec_options=CODEC_OPTIONS))


def test_every_command_is_bounded(long_history: LongHistoryQuery, recorder: Recorder) -> None:
    wanted = MessageFilter("devices/+/up/#", "env.t", 5, NOW_MS)
    for each in (MessageFilter(), wanted, MessageFilter("devices/d1/up")):
        long_history.older("d1", EVERYTHING, each, 3)
        long_history.newer("d1", EVERYTHING, each, 3)
    for unit in (MINUTE, HOUR, DAY):
        last = NOW_MS // unit.ms
        assert long_history.rollups("d1", unit, "t", last - 1440, last)
    assert long_history.rollups("d1", MINUTE, "t", 0, NOW_MS // MINUTE.ms) is None
    assert long_history.message(*ROWS[0][1::-1]) is not None
    assert long_history.first_and_last("d1") is not None
    assert {next(iter(command)) for command in recorder.commands} == {"find", "aggregate"}
    for command in recorder.commands:
        assert command["maxTimeMS"] > 0
        assert command.get("limit") or command.get("batchSize") or {"$limit": MAX_COUNTED} in command["pipeline"]


def until_partial(query: Query, *, is_partial: bool) -> None:
    deadline = time.monotonic() + 4 * RETRY_S + 20
    while query.messages("d1", 1000).is_partial != is_partial:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def settings_for(redis_url: str, mongo_url: str) -> Settings:
    return load({"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true"}, "tcp")


def test_without_mongodb_redis_answers_and_says_what_is_missing(redis_url: str, tmp_path: Path) -> None:
    server = EmbeddedMongoDB(tmp_path)
    settings = settings_for(redis_url, f"{server.url}/test")
    asyncio.run(project(settings, ROWS[30:]))
    recent = [row[0] for row in ROWS[30:] if row[1] == "d1"]
    with connect(settings) as store:
        query = Query(store, settings, lambda: NOW_MS)
        newest = query.messages("d1", 50)
        assert [row.id for row in newest.rows] == recent[::-1]
        assert (newest.next, newest.is_partial) == (str(recent[0]), True)
        oldest = query.messages("d1", 50, order="oldest")
        assert (oldest.rows, oldest.next, oldest.is_partial) == ([], "0-0", True)
        assert not query.messages("d1", 2).is_partial
        assert not query.messages("d1", 50, after=recent[0]).is_partial
        assert query.series("d1", "t", NOW_MS - 30 * DAY.ms, NOW_MS, 300).is_partial
        assert query.series("d1", "t", NOW_MS - 30 * DAY.ms, NOW_MS, 300).points
        for ask in (lambda: query.device("unknown"), lambda: query.message("d1", MessageId(1, 1))):
            with pytest.raises(LongHistoryUnavailable):
                ask()
        try:
            server.start()
            asyncio.run(archive(settings, ROWS))
            until_partial(query, is_partial=False)
            assert len(query.messages("d1", 1000).rows) == sum(row[1] == "d1" for row in ROWS)
        finally:
            query.close()
            server.stop()


def test_a_server_that_hangs_is_given_up(redis_url: str, tmp_path: Path) -> None:
    server = EmbeddedMongoDB(tmp_path)
    server.start()
    settings = settings_for(redis_url, f"{server.url}/test")
    asyncio.run(project(settings, ROWS))
    try:
        with connect(settings) as store:
            query = Query(store, settings, lambda: NOW_MS)
            until_partial(query, is_partial=False)
            server.pause()
            until_partial(query, is_partial=True)
            server.resume()
            query.close()
    finally:
        server.kill()  # it may take long to end in order after a pause
