"""Export, import and check where most messages are only in MongoDB."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import redis
from bson.datetime_ms import DatetimeMS
from installation import Installation, message, now_ms

from broker.outlets.long_history import LongHistoryOutlet
from store import schema
from store.model import MessageId
from store.mongo import MESSAGES, ROLLUPS
from store.outlet_state import MONGODB
from store.schema import DAY_MS
from tests.outlets.ingest import running, until
from transfer.check_command import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

    from local.valkey import EmbeddedValkey

START_MS = now_ms() - 40 * DAY_MS
FEW = {"HISTORY_MESSAGES": "50"}


@pytest.fixture
def both(other_server: EmbeddedValkey, mongo_url: str) -> Iterator[Installation]:
    """An empty installation with MongoDB."""
    with redis.Redis.from_url(other_server.url) as client:
        client.flushall()
    with Installation(other_server.url, mongo_url) as installation:
        yield installation


def fill(installation: Installation, messages: int = 600) -> bytes:
    """Publish over 40 days for odd names; return the export."""
    installation.settings = installation.settings.replace(history_age_s=100 * 86_400)
    for n in range(messages):
        payload: Any = ({"t": n % 50, "deep": {"u.v": n / 3}}, b"\xff\x00", b"", f"text {n}".encode())[n % 4]
        name = ("a/b", 'say "hi",\n', "{x}")[n % 3]
        at_ms = START_MS + n * 3_600_000
        some = message(name, payload, at_ms=at_ms, flags=n % 16 & ~3 | n % 3)
        some.properties = b"\x05\x26\x00\x01a\x00" * (n % 2)
        installation.commit([some], at_ms)
    asyncio.run(installation.project())
    return installation.export()


def assert_import(installation: Installation, lines: bytes, words: str) -> None:
    done = installation.run("import", "-", stdin=lines, **FEW)
    assert done.returncode == 0, done.stderr.decode()
    assert words in done.stderr.decode()


def rollups(database: Database[Any]) -> list[Any]:
    found = database[ROLLUPS].find({}, {"_id": 0, "position": 0}, sort=[("device", 1), ("unit", 1), ("start", 1)])
    return [
        {**each, "fields": json.loads(json.dumps(each["fields"]), parse_float=lambda text: round(float(text), 6))}
        for each in found
    ]


def test_both_stores_together_hold_the_same(here: Installation, both: Installation) -> None:
    whole = fill(here)
    assert_import(both, whole, "600 imported")
    assert int(both.redis.hget(schema.device("a/b", "record"), "history_count") or 0) < 250
    assert both.export() == whole
    assert_import(both, whole, "0 imported")
    assert both.export() == whole
    both.redis.flushall()
    assert both.export() == whole
    assert both.export("--search", "a").splitlines() == [
        line for line in whole.splitlines() if b'"device":"a/b"' in line
    ]
    assert check(here.settings, repairs=False) == 0


def test_in_any_order(here: Installation, both: Installation) -> None:
    whole = fill(here)
    lines = whole.splitlines(keepends=True)
    assert_import(both, b"".join(lines), "600 imported")
    assert both.database is not None
    expected = rollups(both.database)
    assert len(expected) > 50
    both.redis.flushall()
    both.database.client.drop_database(both.database.name)
    shuffled = random.Random(5).sample(lines, len(lines))
    for start in range(0, 600, 200):
        assert_import(both, b"".join(shuffled[start : start + 200]), "200 imported" if start == 0 else "")
    assert both.export() == whole
    assert rollups(both.database) == expected
    assert check(both.settings, repairs=False) == 0


def test_killed_and_run_again(here: Installation, both: Installation) -> None:
    whole = fill(here)
    lines = whole.splitlines(keepends=True)
    chance = random.Random(7)
    for _ in range(4):
        with both.start("import", "-", **FEW) as process:
            assert process.stdin is not None
            process.stdin.write(b"".join(chance.sample(lines, 400)))
            process.stdin.close()
            assert both.database is not None
            reached = both.database[MESSAGES].estimated_document_count() + 1
            while process.poll() is None and both.database[MESSAGES].estimated_document_count() < reached:
                pass
            process.kill()
    assert_import(both, whole, "")
    assert both.export() == whole
    check(both.settings, repairs=True)  # of what a killed import has marked
    assert check(both.settings, repairs=False) == 0


def _break_field(database: Database[Any]) -> None:
    found = database[ROLLUPS].find_one({"unit": "day", "fields.t": {"$exists": True}}, sort=[("start", 1)])
    day = next(iter(found["fields"]["t"]))
    database[ROLLUPS].update_one({"_id": found["_id"]}, {"$inc": {f"fields.t.{day}.count": -1}})


BREAKS: dict[str, Callable[[Database[Any]], Any]] = {
    "count": _break_field,
    "lost": lambda database: database[ROLLUPS].delete_one({"unit": "hour"}),
    "all lost": lambda database: database[ROLLUPS].delete_many({}),
    "field": lambda database: database[ROLLUPS].update_many({"unit": "day"}, {"$unset": {"fields.t": 1}}),
    "odd field": lambda database: database[ROLLUPS].update_one(
        {"unit": "hour", "start": {"$gt": DatetimeMS(START_MS + 5 * DAY_MS)}},
        {"$set": {"fields.odd.3": {"min": 1, "max": 1, "sum": 1, "count": 1}}},
    ),
}


@pytest.mark.parametrize("name", list(BREAKS))
def test_rollups_that_are_broken_are_mended(
    here: Installation, both: Installation, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert_import(both, fill(here), "600 imported")
    assert both.database is not None
    before = rollups(both.database)
    BREAKS[name](both.database)
    assert rollups(both.database) != before
    assert check(both.settings, repairs=False) > 0
    assert "differ from its messages" in capsys.readouterr().out
    assert check(both.settings, repairs=True) > 0
    assert check(both.settings, repairs=False) == 0, capsys.readouterr().out
    assert rollups(both.database) == before


def test_what_the_log_has_and_mongodb_lost(both: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    both.publish(*(message("a", {"t": n}) for n in range(50)))
    position = both.query.messages("a", 1).rows[0].id
    both.redis.hset(schema.outlet("mongodb"), "position", str(position))
    assert check(both.settings, repairs=False) == 1
    assert "50 messages" in capsys.readouterr().out
    assert check(both.settings, repairs=True) == 1
    assert check(both.settings, repairs=False) == 0
    assert both.database is not None
    assert both.database[MESSAGES].count_documents({}) == 50
    assert len(both.export().splitlines()) == 50


def test_a_database_that_is_set_later_is_filled_by_an_import(here: Installation, mongo_url: str) -> None:
    whole = fill(here)
    with Installation(here.environ["REDIS_URL"], mongo_url) as later:
        here.redis.xtrim(schema.LOG, minid=here.redis.xrevrange(schema.LOG, count=100)[-1][0], approximate=False)
        asyncio.run(take_log(later))
        assert later.database is not None
        assert later.database[MESSAGES].count_documents({}) == 100
        done = later.run("import", "-", stdin=whole)
        assert (done.returncode, b"600 were there already" in done.stderr) == (0, True), done.stderr.decode()
        assert later.database[MESSAGES].count_documents({}) == 600
        assert check(later.settings, repairs=False) == 0
        later.redis.flushall()
        assert later.export() == whole


async def take_log(installation: Installation) -> None:
    """Write to MongoDB what the log holds, as the process for it does."""
    last = installation.redis.xrevrange(schema.LOG, count=1)[0][0].decode()

    def is_taken() -> bool:
        position = installation.redis.hget(schema.outlet(MONGODB), "position")
        return position is not None and MessageId.parse(position.decode()).log_id == last

    async with running(LongHistoryOutlet(installation.settings), installation.settings):
        await until(is_taken, "the log taken")
