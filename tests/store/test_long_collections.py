"""Collections, indexes and ages of the long history: made when they are missing, changed when a setting is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import settings as application_settings
from store.long_collections import FOR_EVER_S, LONGEST_SPAN_S, open_collections
from store.mongo import MESSAGES, ROLLUPS, connect_mongo, connect_mongo_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands_seen import CommandsSeen
    from pymongo.database import Database

    from settings import Settings
    from store.documents import Document

DAY_S = 86_400


@pytest.fixture
def settings(mongo_url: str) -> Settings:
    environ = {"REDIS_URL": "redis://127.0.0.1:1", "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true"}
    return application_settings.load(environ, "tcp")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[Document]]:
    database = connect_mongo(settings)
    yield database
    database.client.close()


async def opened(settings: Settings) -> None:
    database = connect_mongo_async(settings)
    try:
        await open_collections(database, settings)
    finally:
        await database.client.close()


def indexes_of(database: Database[Document], collection: str) -> dict[str, object]:
    return {name: (index["key"], index.get("unique", False)) for name, index in
            database[collection].index_information().items() if name != "_id_"}  # fmt: skip


def ages(database: Database[Document]) -> tuple[int, int]:
    return (
        database[MESSAGES].index_information()["ts_age"]["expireAfterSeconds"],
        database[ROLLUPS].index_information()["start_age"]["expireAfterSeconds"],
    )


async def test_indexes_are_as_specified(settings: Settings, database: Database[Document]) -> None:
    await opened(settings)
    assert indexes_of(database, MESSAGES) == {
        "device_id": ([("device", 1), ("_id", 1)], False),
        "ts_age": ([("ts", 1)], False),
    }
    assert indexes_of(database, ROLLUPS) == {
        "device_unit_start": ([("device", 1), ("unit", 1), ("start", 1)], True),
        "start_age": ([("start", 1)], False),
    }
    assert ages(database) == (365 * DAY_S, 3650 * DAY_S + LONGEST_SPAN_S)


async def test_an_age_that_is_changed_changes_the_index_and_no_document(
    settings: Settings, database: Database[Document]
) -> None:
    await opened(settings)
    database[MESSAGES].insert_one({"_id": "1"})
    await opened(settings.replace(long_history_age_s=30 * DAY_S, long_rollup_age_s=0))
    assert ages(database) == (30 * DAY_S, FOR_EVER_S)
    await opened(settings.replace(long_history_age_s=0, long_rollup_age_s=FOR_EVER_S))
    assert ages(database) == (FOR_EVER_S, FOR_EVER_S)
    await opened(settings)
    assert ages(database) == (365 * DAY_S, 3650 * DAY_S + LONGEST_SPAN_S)
    assert list(database[MESSAGES].find()) == [{"_id": "1"}]


async def test_what_is_there_is_only_looked_at(
    settings: Settings, database: Database[Document], mongo_commands: CommandsSeen
) -> None:
    await opened(settings)
    mongo_commands.names.clear()
    await opened(settings)
    assert mongo_commands.names - {"endSessions"} == {"listIndexes"}
