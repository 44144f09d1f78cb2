"""The same answers whichever store holds the messages: Redis, MongoDB, or both with a seam anywhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from plain_model import PlainModel
from two_stores import DEVICES, NOW_MS, archive, cut, messages, project

from settings import load
from store import long_history_query, scan, schema
from store.connection import connect
from store.model import MessageId
from store.outlet_state import MONGODB
from store.query import Query
from store.schema import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from settings import Settings
    from store.answers import StoredMessage

ROWS = messages(240, seed=5, days=40)
MODEL = PlainModel(ROWS)
LENGTHS_MS = [HOUR.ms, 6 * HOUR.ms, DAY.ms, 7 * DAY.ms, 30 * DAY.ms, 365 * DAY.ms, 3650 * DAY.ms]
FIELDS = ("t", "env.t", "env.list.1", "a.b", "a.c", "$p", "", "value", "nothing")


@pytest.fixture
def settings(redis_url: str, mongo_url: str) -> Settings:
    """Settings of installations that keep all rollups in Redis too."""
    settings = load({"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true"}, "tcp")
    ten_years_s = 3650 * 86_400
    return settings.replace(
        rollup_age_s=ten_years_s, hour_rollup_age_s=ten_years_s, day_rollup_age_s=ten_years_s, history_age_s=ten_years_s
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def query(settings: Settings, store: redis.Redis) -> Iterator[Query]:
    query = Query(store, settings, lambda: NOW_MS)
    yield query
    query.close()


def walk(
    query: Query,
    device: str,
    limit: int,
    between: Callable[[], object] = lambda: None,
    *,
    order: str = "newest",
    before: MessageId | None = None,
    after: MessageId | None = None,
    **filters: Any,
) -> list[StoredMessage]:
    """Every row of a list, a page at a time; `between` happens after each page."""
    rows: list[StoredMessage] = []
    while True:
        page = query.messages(device, limit, before, after, order=order, **filters)  # type: ignore[arg-type]
        assert len(page.rows) <= limit
        assert not page.is_partial
        rows += page.rows
        if page.next is None:
            return rows
        before, after = (
            (MessageId.parse(page.next), after) if order == "newest" else (before, MessageId.parse(page.next))
        )
        between()


def message_questions(seed: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    for device in (*DEVICES, "unknown"):
        for order in ("newest", "oldest"):
            some, other = sorted(chance.sample([row[0] for row in ROWS], 2))
            from_ms, to_ms = sorted(chance.sample([row[2].received_ms for row in ROWS], 2))
            asked = {"device": device, "order": order}
            yield asked
            yield {**asked, "after": some, "before": other}
            yield {**asked, "from_ms": from_ms, "to_ms": to_ms}
            yield {**asked, "from_ms": to_ms, "after": some, "topic": "devices/+/up/#"}
            for topic in (f"devices/{device}/up", "devices/#", f"devices/{device}/$x/+", "+/+/", "none", "$x/#"):
                yield {**asked, "topic": topic}
            for field in chance.sample(FIELDS, 3):
                yield {**asked, "field": field}


def series_questions(seed: int) -> Iterator[tuple[str, str, int, int, int]]:
    chance = random.Random(seed)
    for device in DEVICES:
        for field in FIELDS:
            for length_ms in chance.sample(LENGTHS_MS, 4):
                end = NOW_MS - chance.randrange(30 * DAY.ms)
                points = chance.choice((1, 2, 3, 17, 60, 300, 2000))
                if length_ms <= DAY.ms or length_ms >= points * HOUR.ms:  # MongoDB has no minutes of more than a day
                    yield device, field, max(0, end - length_ms), end, points


def assert_messages_are_right(query: Query, seed: int) -> None:
    for asked in message_questions(seed):
        expected = MODEL.messages(asked["device"], **{name: asked[name] for name in asked if name != "device"})
        assert walk(query, limit=7 if len(asked) == 2 else 30, **asked) == expected, asked


def assert_series_are_right(query: Query, seed: int) -> None:
    for device, field, from_ms, to_ms, points in series_questions(seed):
        found = query.series(device, field, from_ms, to_ms, points)
        assert found == MODEL.series(device, field, from_ms, to_ms, found.bucket_ms, points)
        assert len(found.points) <= points
        assert found.bucket_ms * points >= to_ms - from_ms


def assert_single_messages_are_right(query: Query) -> None:
    for message_id, device, _ in ROWS[::17]:
        assert query.message(device, message_id) == next(row for row in MODEL.messages(device) if row.id == message_id)
        assert query.message("unknown", message_id) is None


def assert_all_is_right(query: Query, seed: int) -> None:
    assert_messages_are_right(query, seed)
    assert_series_are_right(query, seed)
    assert_single_messages_are_right(query)


async def test_redis_alone(query: Query, settings: Settings) -> None:
    await project(settings, ROWS)
    assert_all_is_right(query, 1)


async def test_redis_without_a_long_history(settings: Settings, store: redis.Redis) -> None:
    await project(settings, ROWS)
    query = Query(store, settings.replace(mongo_url=""), lambda: NOW_MS)
    assert_all_is_right(query, 2)
    query.close()


async def test_mongodb_alone(query: Query, settings: Settings) -> None:
    await archive(settings, ROWS)
    assert_all_is_right(query, 3)
    device = query.device("d.{2}")
    newest = MODEL.messages("d.{2}")
    assert device is not None
    assert (device.messages, device.first_seen_ms, device.last_seen_ms) == (
        len(newest),
        newest[-1].ts_ms,
        newest[0].ts_ms,
    )
    assert query.device("unknown") is None


@pytest.mark.parametrize("seed", range(4))
async def test_redis_forgets_what_is_old(query: Query, settings: Settings, store: redis.Redis, seed: int) -> None:
    chance = random.Random(seed)
    await project(settings, ROWS)
    newest_cut = MessageId(0, 0)
    for device in DEVICES:
        cut(store, device, chance.randrange(25))
        newest_cut = max(newest_cut, _newest_cut(store, device))
    written = sum(row[0] <= newest_cut for row in ROWS)
    await archive(settings, ROWS[: chance.randint(written, len(ROWS))])
    assert_all_is_right(query, seed)


@pytest.mark.parametrize("lost", [1, 120, 239])
async def test_redis_was_lost(query: Query, settings: Settings, lost: int) -> None:
    await project(settings, ROWS[lost:])
    await archive(settings, ROWS)
    assert_all_is_right(query, lost)


async def test_mongodb_lags_in_the_day_with_which_redis_begins(query: Query, settings: Settings) -> None:
    await project(settings, ROWS)
    await archive(settings, ROWS[:2])
    assert_series_are_right(query, 4)


async def test_pages_end_at_the_bound_of_what_is_looked_at(
    query: Query, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (scan, long_history_query):
        monkeypatch.setattr(module, "MAX_EXAMINED", 5)
    await project(settings, ROWS[120:])
    await archive(settings, ROWS)
    assert_messages_are_right(query, 9)
    page = query.messages("d1", 50, topic="none")
    assert (page.rows, page.next is None) == ([], False)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 7, 40])
async def test_what_goes_between_two_pages_is_not_missed(
    query: Query, settings: Settings, store: redis.Redis, order: str, limit: int
) -> None:
    await project(settings, ROWS)
    await archive(settings, ROWS)
    assert walk(query, "d1", limit, lambda: cut(store, "d1", 1), order=order) == MODEL.messages("d1", order=order)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [7, 40])
async def test_what_goes_while_a_page_is_read_is_not_missed(
    settings: Settings, store: redis.Redis, order: str, limit: int
) -> None:
    await project(settings, ROWS)
    await archive(settings, ROWS)
    query = Query(_Forgetful(store), settings, lambda: NOW_MS)  # type: ignore[arg-type]
    assert walk(query, "d1", limit, order=order) == MODEL.messages("d1", order=order)
    query.close()


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_page_that_comes_to_what_mongodb_has_not_yet_is_partial(
    query: Query, settings: Settings, store: redis.Redis, order: str
) -> None:
    await project(settings.replace(history_messages=20), ROWS)
    await archive(settings, ROWS[:40])
    store.hset(schema.outlet(MONGODB), "position", str(ROWS[39][0]))
    page = query.messages("d1", 1000, order=order)  # type: ignore[arg-type]
    known = [row for row in MODEL.messages("d1", order=order) if row.id <= ROWS[39][0]]
    assert (page.rows[-len(known) :], page.is_partial) == (known, True)
    assert not query.messages("d1", 5, before=ROWS[39][0], order=order).is_partial  # type: ignore[arg-type]
    assert not query.messages("d1", 5).is_partial
    await archive(settings, ROWS[40:])
    store.hset(schema.outlet(MONGODB), "position", str(ROWS[-1][0]))
    assert walk(query, "d1", 1000, order=order) == MODEL.messages("d1", order=order)


class _Forgetful:
    """A client of Redis that loses a device's oldest chunk behind every question."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            answer = getattr(self._client, name)(*arguments, **options)
            cut(self._client, "d1", 1)
            return answer

        return call


def _newest_cut(store: redis.Redis, device: str) -> MessageId:
    kept = store.xrange(schema.device(device, "history"), count=1)
    gone = [row[0] for row in ROWS if row[1] == device and (not kept or row[0] < MessageId.parse(kept[0][0].decode()))]
    return max(gone, default=MessageId(0, 0))
