"""What the store holds by kind of data: estimates near what it really takes, and growth told only where it can be."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

import settings as application_settings
from broker.projector.grouping import DeviceGroups
from store import capacity, schema
from store.capacity import growth
from store.connection import connect, connect_async
from store.link import StoreLink
from store.model import DeviceNaming, Message
from store.query import Query
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from settings import Settings
    from store.capacity import Use

NOW_MS = 1_700_003_600_000
MIB = 1024 * 1024
DEVICES = 60  # more than are measured


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return application_settings.load({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, "tcp")


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


async def fill(settings: Settings, hours: int, size: int) -> None:
    """Give every device a message a minute, with two numbers and a text."""
    payload = json.dumps({"t": 1.5, "h": 2, "text": "x" * size}).encode()
    async with connect_async(settings) as client:
        link = StoreLink(settings.redis_url)
        running = asyncio.create_task(link.run())
        views = Views(client, settings, link)
        for at_ms in range(NOW_MS - hours * schema.HOUR_MS, NOW_MS, 10 * schema.MINUTE_MS):
            groups = DeviceGroups()
            messages = [
                Message(f"devices/d{n}/t", "c", at_ms + minute * schema.MINUTE_MS, 1, payload)
                for minute in range(10)
                for n in range(DEVICES)
            ]
            groups.add_entry(b"%d-0" % at_ms, messages, DeviceNaming(("devices/{device}/#",)))
            await views.apply_devices([group.write() for group in groups.groups()], NOW_MS)
            await views.index_devices(groups.last_seen_ms())
        running.cancel()


def uses(store: redis.Redis, settings: Settings) -> dict[str, Use]:
    return {use.name: use for use in Query(store, settings, lambda: NOW_MS).capacity().uses}


def really(store: redis.Redis, pattern: str) -> int:
    return sum(int(store.memory_usage(key, samples=0) or 0) for key in store.keys(pattern))


async def test_estimates_are_near_what_is_there(store: redis.Redis, settings: Settings) -> None:
    await fill(settings, 3, 300)
    found = uses(store, settings)
    assert found["history"].count == pytest.approx(DEVICES * 180, rel=0.02)
    assert found["history"].bytes == pytest.approx(really(store, "d:*:history"), rel=0.2)
    assert found["rollups_m"].bytes == pytest.approx(
        really(store, "d:*:m:*"), rel=0.35
    )  # hours begun count as whole ones
    assert found["rollups_m"].count == 2 * DEVICES
    assert found["devices"].bytes == pytest.approx(
        sum(map(really, [store] * 3, ("d:*:record", "d:*:values", "d:*:topics"))), rel=0.3
    )
    assert (found["devices"].count, found["devices"].most_bytes) == (DEVICES, None)


async def test_bounds_are_reckoned_from_what_was_measured(store: redis.Redis, settings: Settings) -> None:
    await fill(settings, 2, 300)
    few = settings.replace(history_messages=60)
    found = uses(store, few)["history"]
    assert found.most_bytes is not None
    a_message = found.bytes / found.count
    assert found.most_bytes == pytest.approx(DEVICES * (4096 + 60 * a_message), rel=0.05)
    small = uses(store, settings.replace(history_bytes=50_000))["history"]
    assert small.most_bytes == DEVICES * (4096 + 50_000)
    by_rate = capacity.capacity(store, settings, DEVICES / 60, NOW_MS).uses[1]  # a message a minute and device
    assert by_rate.most_bytes == pytest.approx(DEVICES * (4096 + 7 * 1440 * a_message), rel=0.05)
    rollups = uses(store, settings)["rollups_m"]
    assert rollups.most_bytes == pytest.approx(really(store, "d:*:m:*") / 2 * 49, rel=0.4)


async def test_log_retained_and_sessions(store: redis.Redis, settings: Settings) -> None:
    for n in range(100):
        store.xadd(schema.LOG, {"f": b"x" * 5000})
        store.hset(schema.RETAINED, f"t/{n}", b"y" * 400)
        store.zadd(schema.RETAINED_INDEX, {f"t/{n}": 0})
        store.zadd(schema.SESSIONS, {f"c{n}": NOW_MS})
        store.xadd(schema.queue(f"c{n}"), {"d": b"z" * 3000})
    found = uses(store, settings.replace(store_bytes=100 * MIB))
    assert found["log"].bytes == pytest.approx(500_000, rel=0.2)
    assert found["log"].most_bytes == settings.log_keep_bytes + 25 * MIB  # a quarter is less than LOG_MAX_BYTES
    assert found["retained"].count == 100
    assert found["retained"].bytes == pytest.approx(really(store, "*retained*"), rel=0.2)
    assert found["retained"].most_bytes == settings.retained_bytes  # less than RETAINED_MESSAGES of this size
    assert found["sessions"].bytes == pytest.approx(really(store, "*queue*"), rel=0.2)
    assert found["sessions"].most_bytes == 100 * settings.queue_bytes


def test_an_empty_store(store: redis.Redis, settings: Settings) -> None:
    found = Query(store, settings, lambda: NOW_MS).capacity()
    assert all(use.bytes == 0 for use in found.uses[:-1])
    assert found.uses[-1].bytes == found.used_bytes
    assert (found.budget_bytes, found.is_full, found.growth, found.retention.shedding) == (0, False, None, "")


def test_growth_says_when_shedding_begins() -> None:
    now_s = NOW_MS // 1000
    samples = [(now_s - 3600 + 300 * n, 10 * MIB + n * MIB) for n in range(12)]
    found = growth(samples, 22 * MIB, 100 * MIB, NOW_MS)
    assert found is not None
    assert (found.over_s, found.bytes_per_hour) == (3600, 12 * MIB)
    assert found.to_shedding_s == pytest.approx((80 - 22) / 12 * 3600, rel=0.01)


@pytest.mark.parametrize(("used_bytes", "budget_bytes"), [(22 * MIB, 0), (9 * MIB, 100 * MIB)])
def test_growth_that_leads_nowhere(used_bytes: int, budget_bytes: int) -> None:
    """Without a bound, or shrinking."""
    samples = [(NOW_MS // 1000 - 3600 + 300 * n, 10 * MIB) for n in range(12)]
    found = growth(samples, used_bytes, budget_bytes, NOW_MS)
    assert found is not None
    assert found.to_shedding_s is None


def test_growth_needs_some_time() -> None:
    assert growth([(NOW_MS // 1000 - 600, MIB), (NOW_MS // 1000 - 300, 2 * MIB)], 3 * MIB, 100 * MIB, NOW_MS) is None
