"""What the outlet to MongoDB writes: documents, and rollups that equal a recount however often messages come."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import pytest
from ingest import START_MS, reading
from recount import assert_holds_exactly, rollups_in

from broker.outlets.long_history import LongHistoryOutlet
from store.documents import document_of
from store.json_fields import MAX_FIELDS
from store.model import Message, MessageId
from store.mongo import MESSAGES, ROLLUPS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pymongo.database import Database

    from broker.outlets.outlet import LoggedMessage
    from settings import Settings
    from store.documents import Document

DAY_MS = 86_400_000


@pytest.fixture
async def outlet(settings: Settings) -> AsyncIterator[LongHistoryOutlet]:
    outlet = LongHistoryOutlet(settings)
    await outlet.open()
    yield outlet
    await outlet.close()


def logged(messages: list[Message], first: int = 0) -> list[LoggedMessage]:
    """Return messages as the log has them, the first one at a given place in it."""
    return [
        (
            MessageId(START_MS + (first + n) // 3, (first + n) % 3 << 16 | n % 5),
            message.topic_name.split("/")[1],
            message,
        )
        for n, message in enumerate(messages)
    ]


def numbers(device: str, received_ms: int, **fields: object) -> Message:
    return Message(f"devices/{device}/up", "c", received_ms, 0, json.dumps(fields).encode())


async def test_documents_and_rollups_are_as_specified(outlet: LongHistoryOutlet, database: Database[Document]) -> None:
    message = Message("devices/d1/up", "c1", START_MS + 3_600_000, 0b1101, b'{"a":{"b":2.5},"c":"on"}', b"\x01\x00")
    await outlet.write([(MessageId(START_MS, 65536), "d1", message)])
    (document,) = database[MESSAGES].find()
    assert document["_id"] == f"{START_MS}-000000000065536"
    assert document == document_of(MessageId(START_MS, 65536), "d1", message)
    assert document["fields"] == {"a": {"b": 2.5}, "c": "on"}
    day, hour = database[ROLLUPS].find({}, {"_id": 0}).sort("unit", 1)
    aggregate = {"min": 2.5, "max": 2.5, "sum": 2.5, "count": 1}
    assert str(hour["start"].as_datetime()) == "2026-01-31 00:00:00"
    assert hour["fields"] == {"a\uff0eb": {"13": aggregate}}
    assert str(day["start"].as_datetime()) == "2026-01-01 00:00:00"
    assert day["fields"] == {"a\uff0eb": {"31": aggregate}}
    assert (hour["device"], hour["unit"], hour["position"]) == ("d1", "hour", document["_id"])


@pytest.mark.parametrize("seed", range(4))
async def test_batches_that_overlap_at_random_count_once(
    outlet: LongHistoryOutlet, database: Database[Document], seed: int
) -> None:
    chance = random.Random(seed)
    messages = logged([reading(n) for n in range(600)])
    end = 0
    while end < len(messages):
        start = chance.randint(max(0, end - 200), end)
        end = min(len(messages), end + chance.randint(1, 150))
        await outlet.write(messages[start:end])
    assert_holds_exactly(database, messages)


async def test_a_message_of_yesterday_counts_yesterday(outlet: LongHistoryOutlet, database: Database[Document]) -> None:
    some = [numbers("a", START_MS + late_ms, t=late_ms // 1000) for late_ms in (0, 60_000, -DAY_MS, 5, -40 * DAY_MS, 9)]
    messages = logged(some)
    for message in messages:
        await outlet.write([message])
    await outlet.write(messages)
    assert_holds_exactly(database, messages)


async def test_two_writers_at_once_count_once(settings: Settings, database: Database[Document]) -> None:
    first, second = LongHistoryOutlet(settings), LongHistoryOutlet(settings)
    messages = logged([reading(n) for n in range(600)])
    try:
        await first.open()
        await second.open()
        for start in range(0, 600, 60):
            await asyncio.gather(
                *(outlet.write(messages[start : start + size]) for outlet, size in ((first, 60), (second, 45)))
            )
    finally:
        await first.close()
        await second.close()
    assert_holds_exactly(database, messages)


async def test_a_field_that_is_new_joins_the_rollups(outlet: LongHistoryOutlet, database: Database[Document]) -> None:
    messages = logged([numbers("a", START_MS + n, **{f"f{n % 10}": n, "always": n}) for n in range(30)])
    for start in range(0, 30, 3):
        await outlet.write(messages[start : start + 3])
    assert_holds_exactly(database, messages)


async def test_the_fields_of_a_rollup_are_bounded(outlet: LongHistoryOutlet, database: Database[Document]) -> None:
    messages = logged([numbers("a", START_MS, **{f"f{n}": n, "always": n}) for n in range(4 * MAX_FIELDS)])
    for start in range(0, len(messages), 50):
        await outlet.write(messages[start : start + 50])
    for document in database[ROLLUPS].find():
        assert len(document["fields"]) == MAX_FIELDS
    counts = {slot[3]: rollup["count"] for slot, rollup in rollups_in(database).items() if slot[1] == "hour"}
    assert counts.pop("always") == len(messages)
    assert counts == {f"f{n}": 1 for n in range(MAX_FIELDS - 1)}


@pytest.mark.parametrize(
    "path", ["$set", "", "a.b", "$", "0", "a\0b", "_id", "__proto__", "\u2205", "é", ".", "x" * 128]
)
async def test_any_name_of_a_field_is_taken(outlet: LongHistoryOutlet, database: Database[Document], path: str) -> None:
    messages = logged([numbers("a", START_MS + n, **{path: n}) for n in range(4)])
    await outlet.write(messages[:2])
    await outlet.write(messages)
    assert_holds_exactly(database, messages)


@pytest.mark.parametrize(
    "bad",
    [
        Message("devices/a/up", "c", 1 << 63, 0, b"1"),
        Message("devices/a/up", "c", 1 << 60, 0, b"1"),
        Message("devices/a/up", "c", -5, 0, b"1"),
        Message("devices/a/up", "c", START_MS, 0, bytes(17_000_000)),
        Message("devices/" + 250 * "\U0001f600" + "/up", "c", START_MS, 0, b"1"),
    ],
    ids=["no date", "a year nobody has", "before all time", "too large", "a name of 1000 bytes"],
)
async def test_what_cannot_be_a_document_is_counted_and_blocks_nothing(
    outlet: LongHistoryOutlet, database: Database[Document], bad: Message, caplog: pytest.LogCaptureFixture
) -> None:
    messages = logged([reading(0), bad, reading(1)])
    await outlet.write(messages)
    await outlet.write([messages[1]])
    assert_holds_exactly(database, [messages[0], messages[2]])
    assert outlet.left_out == 2
    assert caplog.text.count("left out of MongoDB") == 1
