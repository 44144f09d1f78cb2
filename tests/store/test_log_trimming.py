"""What of the log is cut off, what waits there for an outlet, and what goes by one that does not hold it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import redis

import settings as application_settings
from store import schema
from store.cluster_link import views_link
from store.connection import connect, connect_async
from store.log_trimming import Backlog, LogTrimming
from store.model import START, Message, MessageId, encode_frame
from store.outlet_progress import OutletProgress
from store.outlet_state import INFLUXDB, MONGODB, OutletSize, outlet_states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from settings import Settings

MIB = 1024 * 1024
ENTRIES, MESSAGES = 400, 20
COMMIT_MS = 1_700_000_000_000
URL = "mongodb://127.0.0.1:1/broker"
INFLUX_URL = "http://127.0.0.1:1/broker"


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    """A log of ENTRIES commits, about 2 MiB, of which the views show all and live pages need nothing."""
    with redis.Redis.from_url(redis_url) as client:
        frame = encode_frame([Message("devices/a/up", "c", COMMIT_MS, 0, bytes(220))] * MESSAGES)
        for n in range(ENTRIES):
            client.xadd(schema.LOG, {schema.LOG_FIELD: frame}, id=f"{COMMIT_MS + n}-{n}")
        end = str(entry(ENTRIES - 1))
        client.hset(schema.FLEET, mapping={"position": end, "trim": end, "log_bytes": 2 * MIB, "trim_bytes": 2 * MIB})
        yield client


def entry(n: int) -> MessageId:
    """Return the id of the last message of an entry."""
    return MessageId.of(f"{COMMIT_MS + n}-{n}".encode(), MESSAGES - 1)


def lost(store: redis.Redis) -> int:
    return int(store.hget(schema.outlet(INFLUXDB), "lost") or 0)


def settings_for(redis_url: str, mongo_url: str = URL, influx_url: str = "") -> Settings:
    environ = {"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true", "LOG_MAX_BYTES": str(2 * MIB)}
    return application_settings.load({**environ, "INFLUX_URL": influx_url}, "tcp")


@contextlib.asynccontextmanager
async def opened(settings: Settings, outlet: str = MONGODB) -> AsyncIterator[tuple[LogTrimming, OutletProgress]]:
    async with connect_async(settings, retries=0) as client:
        link = views_link(client, settings)
        task = asyncio.create_task(link.run())
        try:
            yield LogTrimming(client, settings, link), OutletProgress(client, link, outlet)
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_without_outlets_the_log_is_cut_behind_the_views(store: redis.Redis, redis_url: str) -> None:
    async with opened(settings_for(redis_url, mongo_url="")) as (trimming, _):
        await trimming.trim()
        assert await trimming.backlog() == Backlog(None, 0)
    assert store.xlen(schema.LOG) < ENTRIES // 10


async def test_what_mongodb_has_not_taken_stays_and_counts(store: redis.Redis, redis_url: str) -> None:
    async with opened(settings_for(redis_url)) as (trimming, progress):
        await trimming.trim()
        assert store.xlen(schema.LOG) == ENTRIES
        backlog = await trimming.backlog()
        assert backlog.oldest_ms is None
        assert backlog.bytes == store.memory_usage(schema.LOG, samples=1000) > 1.5 * MIB
        await progress.wrote(entry(ENTRIES // 2), 1, OutletSize(), 0)
        await trimming.trim()
        assert ENTRIES // 2 <= store.xlen(schema.LOG) < ENTRIES // 2 + ENTRIES // 10
        assert (
            store.xrange(schema.LOG, entry(ENTRIES // 2 + 1).log_id, count=1)[0][0].decode()
            == entry(ENTRIES // 2 + 1).log_id
        )
        assert MIB / 2 < (await trimming.backlog()).bytes < 1.5 * MIB
        await progress.wrote(entry(ENTRIES - 1), 1, OutletSize(), 0)
        await trimming.trim()
        assert await trimming.backlog() == Backlog(None, 0)
    assert store.xlen(schema.LOG) < ENTRIES // 10


async def test_an_outlet_whose_setting_is_gone_holds_nothing(store: redis.Redis, redis_url: str) -> None:
    async with opened(settings_for(redis_url)) as (_, progress):
        await progress.wrote(entry(3), 1, OutletSize(), 0)
    async with opened(settings_for(redis_url, mongo_url="")) as (trimming, _):
        await trimming.trim()
    assert store.xlen(schema.LOG) < ENTRIES // 10


async def test_the_log_goes_on_without_influxdb(store: redis.Redis, redis_url: str) -> None:
    async with opened(settings_for(redis_url, mongo_url="", influx_url=INFLUX_URL), INFLUXDB) as (trimming, progress):
        await progress.wrote(entry(49), 50 * MESSAGES, OutletSize(), 0)
        await trimming.trim()
        assert 0.8 * MIB < (store.memory_usage(schema.LOG, samples=0) or 0) < 1.1 * MIB
        left = store.xlen(schema.LOG)
        assert lost(store) == (ENTRIES - 50 - left) * MESSAGES
        assert (await trimming.backlog()).bytes == 0
        await trimming.trim()
        assert store.xlen(schema.LOG) == left
        await progress.wrote(entry(ENTRIES - 1), left * MESSAGES, OutletSize(), 0)
        await trimming.trim()
    assert store.xlen(schema.LOG) < ENTRIES // 10
    assert lost(store) == (ENTRIES - 50 - left) * MESSAGES


async def test_what_mongodb_holds_influxdb_does_not_lose(store: redis.Redis, redis_url: str) -> None:
    settings = settings_for(redis_url, influx_url=INFLUX_URL)
    async with opened(settings) as (_, mongodb), opened(settings, INFLUXDB) as (trimming, influxdb):
        await mongodb.wrote(entry(99), 100 * MESSAGES, OutletSize(), 0)
        await influxdb.wrote(entry(199), 200 * MESSAGES, OutletSize(), 0)
        await trimming.trim()
        assert 300 <= store.xlen(schema.LOG) < 300 + ENTRIES // 10
        await mongodb.wrote(entry(ENTRIES - 1), 300 * MESSAGES, OutletSize(), 0)
        await trimming.trim()
        assert 200 <= store.xlen(schema.LOG) < 200 + ENTRIES // 10
    assert lost(store) == 0


async def test_progress_only_moves_forward_and_remembers_since_when_it_fails(
    store: redis.Redis, redis_url: str
) -> None:
    settings = settings_for(redis_url)

    async def state() -> tuple[object, ...]:
        with connect(settings) as client:
            (each,) = outlet_states(client, settings, COMMIT_MS)
        return each.position, each.written, each.error, each.error_since_ms, each.documents, each.updated_ms

    async with opened(settings) as (_, progress):
        assert await progress.position() == START
        await progress.failed("away", OutletSize(), 5)
        await progress.failed("still away", OutletSize(7), 6)
        assert await state() == (None, 0, "still away", 5, 7, 6)
        await progress.wrote(entry(9), 20, OutletSize(8), 7)
        await progress.wrote(entry(4), 10, OutletSize(9), 8)
        assert await state() == (entry(9), 20, "", 0, 9, 8)
        assert await progress.position() == entry(9)
