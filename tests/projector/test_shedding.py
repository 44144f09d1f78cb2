"""What makes room in the store: each cut takes what it says, and works while Redis is over its limit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from redis.exceptions import OutOfMemoryError

import settings as application_settings
from broker.projector.grouping import DeviceGroups
from broker.projector.projector import Projector
from broker.projector.retention import Retention
from broker.projector.sheddable import Sheddable
from store import schema
from store.connection import connect, connect_async
from store.ingest_log import IngestLog
from store.link import StoreLink
from store.log_trimming import LogTrimming
from store.memory import ONE_SERVER, memory_of
from store.model import DeviceNaming, Message, MessageId, encode_frame
from store.query import Query
from store.retention_state import HISTORY, NOTHING, memory_samples, retention_state
from store.scripting import load_script
from store.shedding import ROLLUP_UNITS, Shedding
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import redis

    from settings import Settings

MINUTE_MS = 60_000
DEVICES = 12


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return application_settings.load({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, "tcp")


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        yield client
        client.config_set("maxmemory", before)


class Linked(NamedTuple):
    views: Views
    shedding: Shedding
    trimming: LogTrimming
    log: IngestLog


@contextlib.asynccontextmanager
async def linked(settings: Settings) -> AsyncIterator[Linked]:
    async with connect_async(settings, retries=0) as client:
        link = StoreLink(settings.redis_url)
        running = asyncio.create_task(link.run())
        await link.wait_up()
        yield Linked(
            Views(client, settings, link),
            Shedding(client, settings, link),
            LogTrimming(client, settings, link),
            IngestLog(client, link, schema.PROJECTOR),
        )
        running.cancel()


def used(store: redis.Redis) -> int:
    """What counts of its memory: not what waits to be written to disk."""
    return memory_of(store.info("memory"), 0).used_bytes


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


async def project(views: Views, messages: list[Message], log_id: bytes) -> None:
    groups = DeviceGroups()
    groups.add_entry(log_id, messages, DeviceNaming(("devices/{device}/#",)))
    assert not any(await views.apply_devices([group.write() for group in groups.groups()], now_ms()))
    await views.index_devices(groups.last_seen_ms())


async def fill(views: Views, minutes: int, size: int = 2000) -> None:
    """Give every device one chunk of ten messages a minute, up to now."""
    start_ms = now_ms() - (minutes - 1) * MINUTE_MS
    payload = msgspec.json.encode({"n": 1.5, "text": "x" * size})
    for minute in range(minutes):
        at_ms = start_ms + minute * MINUTE_MS
        messages = [Message(f"devices/d{n % DEVICES}/t", "c", at_ms, 1, payload) for n in range(10 * DEVICES)]
        await project(views, messages, b"%d-0" % at_ms)


def chunk_times(store: redis.Redis, device: int) -> list[int]:
    return [int(entry_id.partition(b"-")[0]) for entry_id, _ in store.xrange(schema.device(f"d{device}", "history"))]


def assert_record_counts(store: redis.Redis, device: int) -> None:
    """What the record says of the history is what the history holds."""
    chunks = store.xrange(schema.device(f"d{device}", "history"))
    kept = store.hmget(schema.device(f"d{device}", "record"), "history_count", "history_bytes")
    assert int(kept[0] or 0) == sum(int(fields[b"n"]) for _, fields in chunks)
    assert int(kept[1] or 0) == sum(len(fields[b"f"]) + len(fields[b"i"]) for _, fields in chunks)


def fill_up(store: redis.Redis) -> None:
    """Let Redis be over its limit."""
    store.config_set("maxmemory", int(store.info("memory")["used_memory"]) // 2)
    with pytest.raises(OutOfMemoryError):
        store.set("any", "thing")


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task; again where redis-py lost a cancellation that met a time-out of its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.2)


# --- single cuts, over the limit


async def test_history_is_cut_at_a_time_and_its_record_counts_on(store: redis.Redis, settings: Settings) -> None:
    async with linked(settings) as (views, shedding, *_):
        await fill(views, 30)
        names = await shedding.devices("", 1000)
        assert sorted(names) == sorted(f"d{n}" for n in range(DEVICES))
        times = chunk_times(store, 0)
        fill_up(store)
        before = int(store.info("memory")["used_memory"])
        cut = await shedding.cut_history(names, times[20], keeps_newest=True)
        assert (cut.messages, cut.oldest_ms) == (20 * 10 * DEVICES, times[20])
        assert before - int(store.info("memory")["used_memory"]) > cut.bytes * 0.9
        for device in range(DEVICES):
            assert chunk_times(store, device) == times[20:]
            assert_record_counts(store, device)


async def test_newest_chunks_stay_until_the_last(store: redis.Redis, settings: Settings) -> None:
    async with linked(settings) as (views, shedding, *_):
        await fill(views, 5)
        names = await shedding.devices("", 1000)
        newest = chunk_times(store, 0)[-1]
        fill_up(store)
        assert (await shedding.cut_history(names, now_ms() + 1, keeps_newest=True)).oldest_ms is None
        assert chunk_times(store, 3) == [newest]
        assert (await shedding.cut_history(names, now_ms() + 1, keeps_newest=False)).messages == 10 * DEVICES
        assert not store.exists(schema.device("d3", "history"))
        assert_record_counts(store, 3)
        assert store.hget(schema.device("d3", "values"), "n")
        store.config_set("maxmemory", 0)
        await fill(views, 1)
        assert_record_counts(store, 3)


async def test_what_would_free_nothing_stays(store: redis.Redis, settings: Settings) -> None:
    """Redis keeps some KiB of a stream in one piece: a part of it goes for nothing."""
    async with linked(settings) as (views, shedding, *_):
        await fill(views, 5, 10)
        names, times = await shedding.devices("", 1000), chunk_times(store, 0)
        assert await shedding.cut_history(names, now_ms() + 1, keeps_newest=True) == (0, 0, None)
        assert await shedding.cut_history(names, times[-1], keeps_newest=False) == (0, 0, times[-1])
        assert chunk_times(store, 0) == times


async def test_a_long_history_is_cut_in_several_scripts(
    store: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.shedding.MOST_CHUNKS", 3)
    async with linked(settings) as (views, shedding, *_):
        await fill(views, 30)
        times = chunk_times(store, 0)
        assert (await shedding.cut_history(["d0", "d1"], times[25], keeps_newest=True)).messages == 2 * 25 * 10
        assert chunk_times(store, 0) == times[25:]


async def test_rollups_are_cut_by_hashes(store: redis.Redis, settings: Settings) -> None:
    (unit, *_) = ROLLUP_UNITS
    async with linked(settings) as (views, shedding, *_):
        await fill(views, 130, 10)
        hours = sorted(int(key.split(b":")[3]) for key in store.keys("d:{d0}:m:*"))
        assert len(hours) in (3, 4)
        fill_up(store)
        assert await shedding.cut_rollups(["d0", "d1"], unit, hours[0] - 5, hours[1]) == 4
        assert sorted(int(key.split(b":")[3]) for key in store.keys("d:{d0}:m:*")) == hours[2:]


async def test_the_log_kept_for_live_views_is_cut_behind_what_is_projected(
    store: redis.Redis, settings: Settings
) -> None:
    frame = encode_frame([Message("devices/a/t", "c", now_ms(), 1, b"x" * 5000)])
    ids = [store.xadd(schema.LOG, {schema.LOG_FIELD: frame}) for _ in range(200)]
    async with linked(settings) as (_, shedding, trimming, _):
        store.hset(schema.FLEET, mapping={"position": str(MessageId.of(ids[149] or b"", 0)), "log_bytes": 150 * 5000})
        fill_up(store)
        assert await shedding.cut_log() == 150 * 5000
        await trimming.trim()
        assert [entry_id for entry_id, _ in store.xrange(schema.LOG)] == ids[149:]
        assert await shedding.cut_log() == 0
        assert (await trimming.backlog()).bytes > 50 * 5000 * 0.9


# --- what a limit does to scripts


async def test_views_are_written_over_the_limit(store: redis.Redis, settings: Settings) -> None:
    """Else a log that fills the store could never be trimmed."""
    async with linked(settings) as (views, _, _, log):
        await fill(views, 1)
        fill_up(store)
        await fill(views, 1)
        assert store.hget(schema.device("d0", "record"), "messages") == b"20"
        assert await log.take_lease("n1", 5000)
        assert await log.take_lease("n1", 5000)


async def test_a_script_is_refused_at_its_first_write_or_not_at_all(store: redis.Redis) -> None:
    """What commits rely on: Redis looks at the limit when a script begins. Nothing is left half done."""
    script = "redis.call('SET', 'first', string.rep('x', 5000000)) redis.call('SET', 'second', 'y') return 1"
    store.config_set("maxmemory", int(store.info("memory")["used_memory"]) + 1_000_000)
    assert store.eval(script, 0) == 1  # over the limit in the middle
    assert store.get("second") == b"y"
    store.delete("second")
    with pytest.raises(OutOfMemoryError):
        store.eval(script.replace("5000000", "1"), 0)
    assert store.strlen("first") == 5_000_000
    assert not store.exists("second")


async def test_a_commit_is_refused_whole_over_the_limit(store: redis.Redis) -> None:
    commit = load_script("commit").source
    store.hset(schema.of_node("member", "n"), "lost", 0)
    keys = (
        schema.LOG, schema.committed("n"), schema.RETAINED, schema.RETAINED_INDEX, schema.of_node("member", "n"),
        schema.of_node("lost", "n"), schema.ROUTES, schema.ROUTES_VERSION, schema.of_node("inbox", "n"),
        schema.ACCOUNTS,
    )  # fmt: skip
    limits = (10_000, 10_000, 10_000, 10_000)
    arguments = (1, 60, "frame", 10, 10, 1000, 1000, "", 1, "n", 0, 0, now_ms(), "0-0", *limits, "topic", "retained")
    fill_up(store)
    with pytest.raises(OutOfMemoryError):
        store.eval(commit, len(keys), *keys, *arguments)
    assert not store.exists(schema.LOG, schema.committed("n"), schema.RETAINED, schema.RETAINED_INDEX)
    store.config_set("maxmemory", 0)
    assert store.eval(commit, len(keys), *keys, *arguments)[0] == 1
    assert store.xlen(schema.LOG) == store.hlen(schema.RETAINED) == 1


# --- the whole


@contextlib.asynccontextmanager
async def retaining(settings: Settings) -> AsyncIterator[None]:
    """Run a projector and what watches the memory beside it."""
    async with connect_async(settings, retries=0) as client, linked(settings) as (_, shedding, trimming, _):
        runs = (
            Projector(client, settings, "n1", now_ms).run(),
            Retention(shedding, settings, trimming.trim, "n1", now_ms).run(),
        )
        tasks = [asyncio.create_task(run) for run in runs]
        try:
            yield
        finally:
            for task in tasks:
                await end(task)


async def test_the_oldest_goes_first_over_all_devices(
    store: redis.Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(settings) as (views, *_):
        await fill(views, 60)
    used_bytes = used(store)
    newest = chunk_times(store, 0)[-1]
    async with retaining(settings.replace(store_bytes=used_bytes)):
        await until(lambda: retention_state(store).reaches_ms > 0)
        await until(lambda: used(store) <= 0.8 * used_bytes)
    state = retention_state(store)
    assert (state.shedding, state.rollups) == (HISTORY, 0)
    left = [chunk_times(store, device) for device in range(DEVICES)]
    assert {times[-1] for times in left} == {newest}
    assert max(times[0] for times in left) - min(times[0] for times in left) <= 60 * MINUTE_MS / 8 + MINUTE_MS
    assert state.reaches_ms <= max(times[0] for times in left)
    for device in range(DEVICES):
        assert_record_counts(store, device)
    assert caplog.text.count("old history goes") == 1
    samples = [sample for _, sample in memory_samples(store)]
    assert samples[0] == pytest.approx(used_bytes, rel=0.3)
    assert len(samples) <= 2  # one for each five minutes by the clock, which may have begun new ones


async def test_a_long_time_without_messages_is_passed_over_soon(store: redis.Redis, settings: Settings) -> None:
    """What is old lies in one piece with what is young: many passes over all devices would remove nothing."""
    small, large = msgspec.json.encode({"n": 1}), b"x" * 5000
    async with linked(settings) as (views, shedding, *_):
        for age_ms, payload in ((7 * 86_400_000, small), (20_000, small), (19_000, large), (18_000, large)):
            at_ms = now_ms() - age_ms
            messages = [Message(f"devices/d{n}/t", "c", at_ms, 1, payload) for n in range(DEVICES)]
            await project(views, messages, b"%d-0" % at_ms)
        sheddable = Sheddable(shedding, settings, now_ms)
        sheddable.masters = [ONE_SERVER]
        steps = 0
        async for doing in sheddable.steps():
            steps += 1
            if doing != HISTORY or sheddable.shed["messages"]:
                break
    assert sheddable.shed["messages"] == 2 * DEVICES
    assert steps <= 5


async def test_rollups_go_after_the_history_and_what_cannot_go_is_said(store: redis.Redis, settings: Settings) -> None:
    async with linked(settings) as (views, *_):
        await fill(views, 180)
    async with retaining(settings.replace(store_bytes=1_000_000)):  # less than an empty store takes
        # History of the last second stays; where all else goes within that second, it goes with the next attempt.
        await until(lambda: not store.exists(schema.device("d0", "history")))
        await until(lambda: retention_state(store).shedding == NOTHING)
    state = retention_state(store)
    assert state.rollups > 0
    assert len(store.keys("d:{d0}:m:*")) == 1  # the hour that is under way, or was
    device = Query(store, settings).device("d0")
    assert device is not None
    assert device.values["n"].value == 1.5


async def test_only_who_projects_sheds(store: redis.Redis, settings: Settings) -> None:
    def looked() -> int:
        return int(store.info("commandstats")["cmdstat_get"]["calls"])

    async with linked(settings.replace(store_bytes=1)) as (views, shedding, trimming, _):
        await fill(views, 3)
        store.set(schema.PROJECTOR, "another")
        looks, before = looked(), chunk_times(store, 0)
        task = asyncio.create_task(Retention(shedding, settings, trimming.trim, "n1", now_ms).run())
        await until(lambda: looked() > looks + 2)
        assert chunk_times(store, 0) == before
        store.set(schema.PROJECTOR, "n1")
        await until(lambda: chunk_times(store, 0) != before)
        await end(task)
