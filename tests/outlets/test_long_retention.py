"""What is too much in MongoDB goes, the oldest first; writing goes on meanwhile."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from ingest import DEVICES, START_MS, reading, until
from recount import rollups_in

from broker.outlets.long_history import LongHistoryOutlet
from store.documents import document_id
from store.model import Message, MessageId
from store.mongo import MESSAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from commands_seen import CommandsSeen
    from pymongo.database import Database

    from broker.outlets.outlet import LoggedMessage
    from settings import Settings
    from store.documents import Document

TOTAL = 1400


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[LongHistoryOutlet]:
    outlet = LongHistoryOutlet(settings)
    try:
        await outlet.open()
        yield outlet
    finally:
        await outlet.close()


@pytest.fixture
async def messages(settings: Settings) -> list[LoggedMessage]:
    """TOTAL messages that MongoDB has."""
    logged = [(MessageId(START_MS + n, 0), f"d{n % DEVICES}", reading(n)) for n in range(TOTAL)]
    async with opened(settings) as outlet:
        await outlet.write(logged)
    return logged


def ids(database: Database[Document], device: str = "") -> list[str]:
    return [found["_id"] for found in database[MESSAGES].find({"device": device} if device else {}).sort("_id", 1)]


async def test_beyond_a_size_the_oldest_of_all_go(
    settings: Settings, database: Database[Document], messages: list[LoggedMessage]
) -> None:
    full_bytes = database.command("collStats", MESSAGES)["size"]
    rollups = rollups_in(database)
    async with opened(settings.replace(long_history_bytes=full_bytes // 4)) as outlet:
        await until(lambda: outlet.size.bytes <= full_bytes // 4)
        await outlet.write([(MessageId(START_MS + TOTAL, 0), "d0", Message("devices/d0/up", "c", START_MS, 0, b""))])
    left = ids(database)
    assert 0.23 * TOTAL < len(left) <= 0.26 * TOTAL
    expected = [document_id(each[0]) for each in messages] + [document_id(MessageId(START_MS + TOTAL, 0))]
    assert left == expected[-len(left) :]
    assert rollups_in(database) == rollups


async def test_beyond_a_number_the_oldest_of_a_device_go(
    settings: Settings, database: Database[Document], messages: list[LoggedMessage]
) -> None:
    few = [(MessageId(START_MS + TOTAL + n, 0), "few", reading(n)) for n in range(5)]
    async with opened(settings.replace(long_history_messages=50)) as outlet:
        await outlet.write(few)
        await until(lambda: database[MESSAGES].count_documents({}) == DEVICES * 50 + len(few))
    for device in (f"d{n}" for n in range(DEVICES)):
        own = [document_id(each[0]) for each in messages if each[1] == device]
        assert ids(database, device) == own[-50:]
    assert ids(database, "few") == [document_id(each[0]) for each in few]


async def test_without_bounds_nothing_goes_and_the_size_is_known(
    settings: Settings, database: Database[Document], messages: list[LoggedMessage]
) -> None:
    async with opened(settings) as outlet:
        size = outlet.size
    assert size.documents == len(messages) == database[MESSAGES].count_documents({})
    assert size.bytes == database.command("collStats", MESSAGES)["size"]
    assert size.stored_bytes > 0


async def test_all_of_this_is_done_with_commands_of_mongodb_4_0(
    settings: Settings, messages: list[LoggedMessage], mongo_commands: CommandsSeen
) -> None:
    """`mongo_commands` fails the test for anything newer; here is shown that it has seen every kind of command."""
    mongo_commands.names.clear()
    bounds = {"long_history_age_s": 3600, "long_history_bytes": 50_000, "long_history_messages": 10}
    async with opened(settings.replace(**bounds)) as outlet:
        await outlet.write(messages[:100])
        await until(lambda: outlet.size.documents <= 10 * DEVICES and "delete" in mongo_commands.names)
    async with opened(settings.replace(mongo_url=f"{settings.mongo_url}-new")) as outlet:
        await outlet.write(messages[:10])
        assert outlet._database is not None
        await outlet._database.client.drop_database(outlet._database.name)
    assert mongo_commands.names >= {
        "aggregate", "collMod", "collStats", "createIndexes", "delete", "find", "insert", "listIndexes", "update"
    }  # fmt: skip
