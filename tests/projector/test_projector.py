from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import redis

import settings as application_settings
from broker.projector import Projector, device_writer
from local.valkey import EmbeddedValkey
from store import schema
from store.connection import connect, connect_async
from store.model import Message, encode_frame
from store.query import Query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from settings import Settings

DEVICES = 7
START_MS = time.time_ns() // 1_000_000 // 60_000 * 60_000 - 600_000  # rollups of what is older are not written


def settings_for(url: str, **changes: object) -> Settings:
    settings = application_settings.load({"REDIS_URL": url, "ALLOW_ANONYMOUS": "true"}, "tcp")
    return settings.replace(**changes)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return settings_for(redis_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["one trip", "trips that overlap"])
def trips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a batch written in one round trip, or in many, each prepared while the one before is under way."""
    if request.param:
        monkeypatch.setattr(device_writer, "TRIP_DEVICES", 1)


def reading(n: int) -> Message:
    payload = json.dumps({"n": n, "t": n % 100}).encode()
    return Message(f"devices/d{n % DEVICES}/up", f"gateway-{n % 3}", START_MS + n * 50, 1, payload)


def publish(store: redis.Redis, first: int, last: int, size: int = 25) -> None:
    for start in range(first, last, size):
        frame = encode_frame([reading(n) for n in range(start, min(start + size, last))])
        store.xadd(schema.LOG, {schema.LOG_FIELD: frame})


@contextlib.asynccontextmanager
async def projecting(settings: Settings, node_id: str = "n1") -> AsyncIterator[Projector]:
    async with connect_async(settings, retries=0) as client:
        projector = Projector(client, settings, node_id, now_ms)
        task = asyncio.create_task(projector.run())
        try:
            yield projector
        finally:
            task.cancel()
            await asyncio.wait((task,), timeout=10)
            assert task.cancelled()


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


def projected(store: redis.Redis) -> int:
    with contextlib.suppress(redis.ConnectionError):
        return int(store.hget(schema.FLEET, "messages") or 0)
    return 0


def assert_views_equal_a_recount(store: redis.Redis, settings: Settings, total: int) -> None:
    query = Query(store, settings, now_ms)
    sent = [reading(n) for n in range(total)]
    counts = query.fleet()
    assert (counts.total, counts.messages) == (DEVICES, total)
    assert counts.bytes == sum(len(message.payload) for message in sent)
    rates = store.hvals(schema.FLEET_RATE)
    assert not rates or sum(map(int, rates)) <= total
    for index in range(DEVICES):
        own = sent[index::DEVICES]
        device = query.device(f"d{index}")
        assert device is not None
        assert device.messages == len(own)
        assert device.bytes == sum(len(message.payload) for message in own)
        assert (device.first_seen_ms, device.last_seen_ms) == (own[0].received_ms, own[-1].received_ms)
        assert device.values["n"].value == json.loads(own[-1].payload)["n"]
        page = query.messages(f"d{index}", limit=1000)
        assert [row.payload for row in page.rows] == [message.payload for message in reversed(own)][:1000]
        assert int(store.hget(schema.device(f"d{index}", "record"), "history_count") or 0) == len(own)
        for back_ms, points in ((0, 2000), (2 * schema.HOUR_MS, 2), (2 * schema.DAY_MS, 2)):  # by minute, hour and day
            chart = query.series(f"d{index}", "n", START_MS - back_ms, START_MS + total * 50 + 1, points)
            assert sum(point.count for point in chart.points) == len(own)
            sums = sum(point.mean * point.count for point in chart.points)
            assert sums == pytest.approx(sum(range(index, total, DEVICES)))


async def test_views_show_what_was_published_soon(store: redis.Redis, settings: Settings) -> None:
    async with projecting(settings) as projector:
        publish(store, 0, 500)
        await until(lambda: projector.projected_messages == 500)
        await until(lambda: projector.lag_ms == 0)
        started_s = time.monotonic()
        publish(store, 500, 501)
        await until(lambda: projected(store) == 501)
        assert time.monotonic() - started_s < 5
    assert_views_equal_a_recount(store, settings, 501)
    assert store.get(schema.PROJECTOR) is None


@pytest.mark.usefixtures("trips")
async def test_killed_at_random_points_the_views_stay_exact(store: redis.Redis, settings: Settings) -> None:
    chance = random.Random(7)
    total = 0
    for _ in range(25):
        publish(store, total, total + 200)
        total += 200
        async with connect_async(settings, retries=0) as client:
            store.delete(schema.PROJECTOR)
            task = asyncio.create_task(Projector(client, settings, "n1", now_ms).run())
            await asyncio.sleep(chance.uniform(0, 0.03))
            # Without the store's connection nothing that run() does at its end gets through: as a killed process.
            await client.connection_pool.disconnect()
            task.cancel()
            await asyncio.wait((task,), timeout=10)
    async with projecting(settings):
        await until(lambda: projected(store) == total)
    assert_views_equal_a_recount(store, settings, total)


@pytest.mark.usefixtures("trips")
async def test_overlapping_projectors_count_once(store: redis.Redis, settings: Settings) -> None:
    async with projecting(settings, "n1") as first, projecting(settings, "n2") as second:
        for start in range(0, 4000, 100):
            store.delete(schema.PROJECTOR)  # both think it is theirs, again and again
            for projector in (first, second):
                projector._holds_lease, projector._renew_at_s = True, float("inf")
            publish(store, start, start + 100, 7)
            if start % 1000 == 500:
                store.script_flush()
            await asyncio.sleep(0)
        await until(lambda: projected(store) == 4000)
    assert_views_equal_a_recount(store, settings, 4000)


async def test_a_replay_of_the_whole_log_changes_nothing(store: redis.Redis, settings: Settings) -> None:
    publish(store, 0, 300)
    async with projecting(settings):
        await until(lambda: projected(store) == 300)
    before = {key: store.dump(key) for key in store.keys("d:*")}
    store.delete(schema.FLEET, schema.FLEET_RATE)
    async with projecting(settings):
        await until(lambda: projected(store) == 300)
    assert {key: store.dump(key) for key in store.keys("d:*")} == before
    assert_views_equal_a_recount(store, settings, 300)


async def test_goes_on_after_the_store_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = EmbeddedValkey(tmp_path, options=("--appendfsync", "always"))
    server.start()
    try:
        settings = settings_for(server.url)
        store = connect(settings)
        async with projecting(settings):
            publish(store, 0, 400)
            await until(lambda: projected(store) > 0)
            server.kill()
            await until(lambda: "not kept up to date" in caplog.text)
            await asyncio.to_thread(server.start)
            publish(store, 400, 600)
            await until(lambda: projected(store) == 600)
        assert_views_equal_a_recount(store, settings, 600)
        assert caplog.text.count("not kept up to date") == 1
        store.close()
    finally:
        server.stop()


async def test_an_unreadable_entry_is_skipped(
    store: redis.Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    publish(store, 0, 10)
    store.xadd(schema.LOG, {schema.LOG_FIELD: b"\xc1 not a frame"})
    store.xadd(schema.LOG, {"other": b"field"})
    publish(store, 10, 20)
    store.xadd(schema.LOG, {schema.LOG_FIELD: msgspec.msgpack.encode([["too short"]])})
    async with projecting(settings) as projector:
        await until(lambda: projector.undecodable_entries == 3)
        await until(lambda: projected(store) == 20)
    assert caplog.text.count("cannot be read") == 1
    assert_views_equal_a_recount(store, settings, 20)


async def test_the_log_is_trimmed_behind_the_views(store: redis.Redis, settings: Settings) -> None:
    keep_bytes = 64 * 1024
    async with projecting(settings.replace(log_keep_bytes=keep_bytes)) as projector:
        for n in range(60):
            publish(store, n * 100, n * 100 + 100)
            await until(lambda n=n: projector.projected_messages == n * 100 + 100)  # type: ignore[misc]
        publish(store, 6000, 6001)
        await until(lambda: projected(store) == 6001)

        def is_trimmed() -> bool:
            return int(store.memory_usage(schema.LOG, samples=0) or 0) < 3 * keep_bytes

        publish(store, 6001, 6002)
        await until(is_trimmed)
        assert store.xlen(schema.LOG) > 0


async def test_a_node_without_the_lease_sees_the_backlog(store: redis.Redis, settings: Settings) -> None:
    store.set(schema.PROJECTOR, "another", px=60_000)
    publish(store, 0, 2000)
    async with projecting(settings) as projector:
        await until(lambda: projector.lag_bytes > 50_000 and projector.lag_ms > 0)
        assert projector.projected_messages == 0
        store.delete(schema.PROJECTOR)
        await until(lambda: projector.lag_bytes == 0 and projector.projected_messages == 2000)


async def test_history_and_names_are_bounded(store: redis.Redis, settings: Settings) -> None:
    small = settings.replace(history_messages=500, history_bytes=200_000)
    for start in range(0, 3000, 300):
        some = [
            Message(f"devices/a/{n}", "c", START_MS, 0, json.dumps({f"f{n}": 1, "g": n}).encode())
            for n in range(start, start + 300)
        ]
        store.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(some)})
    async with projecting(small):
        await until(lambda: projected(store) == 3000)
    record = store.hgetall(schema.device("a", "record"))
    chunks = store.xrange(schema.device("a", "history"))
    assert sum(int(fields[b"n"]) for _, fields in chunks) == int(record[b"history_count"])
    assert sum(len(fields[b"f"]) + len(fields[b"i"]) for _, fields in chunks) == int(record[b"history_bytes"])
    assert 500 <= int(record[b"history_count"]) < 500 + 128
    values = store.hgetall(schema.device("a", "values"))
    assert len(values) == schema.MAX_FIELDS
    assert msgspec.msgpack.decode(values[b"g"])[0] == 2999
    assert store.hlen(schema.device("a", "topics")) == schema.MAX_TOPICS
    assert len(store.keys("d:{a}:m:*")) == schema.MAX_FIELDS
