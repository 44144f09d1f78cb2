"""One outlet kept behind the log: what is written, where it goes on, and what it says of itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ingest import START_MS, commit, now_ms, publish, reading, running, until

from broker.outlets.long_history import LongHistoryOutlet
from store import schema
from store.documents import read_document
from store.model import Message
from store.mongo import MESSAGES
from store.outlet_state import MONGODB, outlet_states

if TYPE_CHECKING:
    import pytest
    import redis
    from pymongo.database import Database

    from settings import Settings
    from store.documents import Document


def count(database: Database[Document]) -> int:
    return database[MESSAGES].count_documents({})


async def test_everything_in_the_log_is_written_in_its_order(
    store: redis.Redis, settings: Settings, database: Database[Document]
) -> None:
    publish(store, 0, 300)
    async with running(LongHistoryOutlet(settings), settings):
        await until(lambda: count(database) == 300)
        publish(store, 300, 310)
        await until(lambda: outlet_states(store, settings, now_ms())[0].written == 310)
    found = [read_document(document) for document in database[MESSAGES].find().sort("_id", 1)]
    assert [message for _, _, message in found] == [reading(n) for n in range(310)]
    assert [device for _, device, _ in found] == [f"d{n % 7}" for n in range(310)]
    assert not store.exists(schema.outlet_lease(MONGODB))


async def test_a_replay_of_the_whole_log_changes_nothing(
    store: redis.Redis, settings: Settings, database: Database[Document]
) -> None:
    publish(store, 0, 300)
    async with running(LongHistoryOutlet(settings), settings):
        await until(lambda: outlet_states(store, settings, now_ms())[0].written == 300)
    before = list(database[MESSAGES].find().sort("_id", 1))
    store.delete(schema.outlet(MONGODB))
    async with running(LongHistoryOutlet(settings), settings):
        await until(lambda: outlet_states(store, settings, now_ms())[0].written == 300)
    assert list(database[MESSAGES].find().sort("_id", 1)) == before


async def test_an_unreadable_entry_is_left_out(
    store: redis.Redis, settings: Settings, database: Database[Document], caplog: pytest.LogCaptureFixture
) -> None:
    publish(store, 0, 10)
    store.xadd(schema.LOG, {schema.LOG_FIELD: b"\xc1 not a frame"})
    store.xadd(schema.LOG, {"other": b"field"})
    publish(store, 10, 20)
    async with running(LongHistoryOutlet(settings), settings):
        await until(lambda: count(database) == 20)
    assert caplog.text.count("cannot be read") == 1


async def test_an_entry_of_any_size_is_written_whole(
    store: redis.Redis, settings: Settings, database: Database[Document]
) -> None:
    sizes = (1, 5000, 30, 4000, 90, 6)
    for first, size in zip(itertools.accumulate(sizes, initial=0), sizes, strict=False):
        commit(store, [Message("devices/a/up", "c", START_MS, 0, b"no. %d" % n) for n in range(first, first + size)])
    async with running(LongHistoryOutlet(settings), settings):
        await until(lambda: outlet_states(store, settings, now_ms())[0].written == sum(sizes))
    found = [document["payload"] for document in database[MESSAGES].find().sort("_id", 1)]
    assert found == [f"no. {n}" for n in range(sum(sizes))]
