"""Rollups as Redis keeps them, and which of them a chart reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from two_stores import NOW_MS, project

from settings import load
from store import schema
from store.connection import connect
from store.model import Message, MessageId
from store.query import Query
from store.schema import DAY, HOUR, MINUTE, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from two_stores import Row

    from settings import Settings
    from store.schema import Unit


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, "tcp")


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def query(store: redis.Redis, settings: Settings) -> Iterator[Query]:
    query = Query(store, settings, lambda: NOW_MS)
    yield query
    query.close()


def readings(*ages_ms: int) -> list[Row]:
    """One message a time before now, each with a number of its own."""
    return [
        (MessageId(NOW_MS, n << 16), "a", Message("devices/a/up", "c", NOW_MS - age_ms, 0, b'{"t": %d}' % n))
        for n, age_ms in enumerate(ages_ms, 1)
    ]


def units_kept(store: redis.Redis) -> dict[str, int]:
    """How many entries there are by each unit's letter."""
    return {unit.letter: sum(map(store.hlen, store.keys(f"d:*:{unit.letter}:*"))) for unit in UNITS}


@pytest.mark.parametrize(
    ("age_ms", "kept"),
    [(0, {"m": 1, "h": 1, "d": 1}), (3 * DAY.ms, {"m": 0, "h": 1, "d": 1}), (40 * DAY.ms, {"m": 0, "h": 0, "d": 1}),
     (402 * DAY.ms, {"m": 0, "h": 0, "d": 0})],
)  # fmt: skip
async def test_a_late_message_is_rolled_up_where_its_time_is_kept(
    settings: Settings, store: redis.Redis, age_ms: int, kept: dict[str, int]
) -> None:
    await project(settings, readings(age_ms))
    assert units_kept(store) == kept


@pytest.mark.parametrize(
    ("from_age_ms", "length_ms", "points", "bucket_ms"),
    [
        (HOUR.ms, HOUR.ms, 300, MINUTE.ms),
        (DAY.ms, DAY.ms, 300, 5 * MINUTE.ms),
        (7 * DAY.ms, 7 * DAY.ms, 300, HOUR.ms),  # minutes would be finer, but are not kept so long
        (30 * DAY.ms, 30 * DAY.ms, 300, 3 * HOUR.ms),
        (365 * DAY.ms, 365 * DAY.ms, 300, 2 * DAY.ms),
        (30 * DAY.ms, HOUR.ms, 60, HOUR.ms),
        (300 * DAY.ms, HOUR.ms, 60, DAY.ms),
    ],
)
async def test_a_chart_reads_the_rollups_that_its_buckets_need(
    query: Query, settings: Settings, from_age_ms: int, length_ms: int, points: int, bucket_ms: int
) -> None:
    await project(settings, readings(from_age_ms - length_ms // 2))
    from_ms = NOW_MS - from_age_ms
    chart = query.series("a", "t", from_ms, from_ms + length_ms, points)
    assert chart.bucket_ms == bucket_ms
    assert [point.count for point in chart.points] == [1]


async def test_what_a_chart_reads_is_bounded_by_its_points(
    query: Query, settings: Settings, store: redis.Redis
) -> None:
    await project(settings, readings(*range(0, 400 * DAY.ms, 6 * HOUR.ms)))

    def hashes_read(length_ms: int) -> int:
        store.config_resetstat()
        assert query.series("a", "t", NOW_MS - length_ms, NOW_MS, 300).points
        return int(store.info("commandstats")["cmdstat_hgetall"]["calls"])

    counts = {days: hashes_read(days * DAY.ms) for days in (7, 30, 365, 3650)}
    assert max(counts.values()) <= 8, counts
    with pytest.raises(ValueError, match="points"):
        query.series("a", "t", 5, 5, 10)


async def test_hashes_stay_in_one_packed_piece(settings: Settings, store: redis.Redis) -> None:
    await project(
        settings,
        readings(
            *range(0, 60 * MINUTE.ms, MINUTE.ms), *range(0, 10 * DAY.ms, HOUR.ms), *range(0, 200 * DAY.ms, DAY.ms)
        ),
    )
    keys = [key for unit in UNITS for key in store.keys(f"d:*:{unit.letter}:*")]
    assert {store.object("encoding", key) for key in keys} == {b"listpack"}
    assert max(unit.span for unit in UNITS) <= 128


@pytest.mark.parametrize("unit", UNITS)
async def test_rollups_go_when_their_newest_entry_is_too_old(
    settings: Settings, store: redis.Redis, unit: Unit
) -> None:
    await project(settings, readings(0))
    age_s = {"m": settings.rollup_age_s, "h": settings.hour_rollup_age_s, "d": settings.day_rollup_age_s}[unit.letter]
    (key,) = store.keys(f"d:*:{unit.letter}:*")
    assert age_s < store.ttl(key) <= age_s + unit.ms // 1000


async def test_a_store_from_before_there_were_hours_and_days_goes_on(
    query: Query, settings: Settings, store: redis.Redis
) -> None:
    before, after = readings(30 * HOUR.ms, 0)
    await project(settings, [before])
    store.delete(*store.keys("d:*:h:*"), *store.keys("d:*:d:*"))
    await project(settings, [after])
    assert [point.min for point in query.series("a", "t", NOW_MS - 47 * HOUR.ms, NOW_MS + 1, 2000).points] == [1, 2]
    assert [point.min for point in query.series("a", "t", NOW_MS - 7 * DAY.ms, NOW_MS + 1, 7).points] == [2]


@pytest.mark.parametrize("points", [1, 2, 3, 299])
async def test_there_are_never_more_buckets_than_asked_for(query: Query, settings: Settings, points: int) -> None:
    await project(settings, readings(*range(0, 30 * HOUR.ms, MINUTE.ms)))
    for length_ms in (MINUTE.ms, HOUR.ms, HOUR.ms + 1, 25 * HOUR.ms):
        chart = query.series("a", "t", NOW_MS - length_ms - 30_000, NOW_MS - 30_000, points)
        assert 0 < len(chart.points) <= points
        assert all((point.ts_ms - chart.points[0].ts_ms) % chart.bucket_ms == 0 for point in chart.points)


def test_numbers_of_hashes_do_not_meet() -> None:
    keys = {
        schema.rollups("a", unit, number, field) for unit in UNITS for number in (1, 2) for field in ("", "1:x", "x")
    }
    assert len(keys) == 18
