from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import settings as application_settings
from broker.projector.grouping import DeviceGroups, FleetTotals
from store import schema
from store.connection import connect, connect_async
from store.link import StoreLink
from store.model import START, DeviceNaming, Message, MessageId, encode_frame
from store.query import Query
from store.scan import topic_matches
from store.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from settings import Settings

NOW_MS = 1_700_000_000_000
NAMING = DeviceNaming(("devices/{device}/#",))


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return application_settings.load({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, "tcp")


@pytest.fixture
def store(settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def query(store: redis.Redis, settings: Settings) -> Query:
    return Query(store, settings, lambda: NOW_MS)


async def write(settings: Settings, store: redis.Redis, messages: list[Message]) -> None:
    """Commit messages in one log entry and project them."""
    log_id = store.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(messages)})
    assert isinstance(log_id, bytes)
    groups, totals = DeviceGroups(), FleetTotals(START)
    async with connect_async(settings) as client:
        link = StoreLink(settings.redis_url)
        running = asyncio.create_task(link.run())
        views = Views(client, settings, link)
        totals.after = await views.position()
        groups.add_entry(log_id, messages, NAMING)
        totals.add_entry(log_id, 1, len(messages))
        totals.add_messages(messages)
        assert not any(await views.apply_devices([group.write() for group in groups.groups()], NOW_MS))
        await views.index_devices(groups.last_seen_ms())
        assert await views.apply_fleet(totals.write(), NOW_MS) is None
        running.cancel()


def message(device: str, ms: int = NOW_MS, payload: bytes = b"{}", topic: str = "up") -> Message:
    return Message(f"devices/{device}/{topic}", f"client-{device}", ms, 1, payload)


def connected(store: redis.Redis, node: str, devices: dict[str, int], heartbeat_ms: int = NOW_MS) -> None:
    """Say what a broker's node says of itself."""
    store.zadd(schema.NODES, {node: heartbeat_ms})
    store.zadd(schema.presence(node), devices)
    store.hset(schema.node_info(node), mapping={"container": "tcp-1", "version": "1", "connections": 3, "rss": "9"})


def until_aof_is_written(store: redis.Redis) -> None:
    """Wait: a server that writes its first append-only file refuses to stop."""
    deadline = time.monotonic() + 20
    while any(store.info("persistence")[f"aof_rewrite_{state}"] for state in ("in_progress", "scheduled")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def walk(query: Query, **question: object) -> list[str]:
    """All ids of a list, a page at a time."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = query.devices(cursor=cursor, **question)  # type: ignore[arg-type]
        found += [row.id for row in page.rows]
        cursor = page.next
        if cursor is None:
            return found


def test_an_empty_store_has_answers(query: Query) -> None:
    counts = query.fleet()
    assert (counts.total, counts.online, counts.quiet, counts.messages) == (0, 0, 0, 0)
    assert query.devices().rows == []
    assert query.devices(status="online").rows == []
    assert query.device("a") is None
    assert query.messages("a").rows == []
    assert query.message("a", MessageId(1, 1)) is None
    assert query.series("a", "t", 0, NOW_MS, 10).points == []
    assert query.numeric_fields("a") == []
    assert query.nodes() == []
    assert query.live(None).next == "0-0"
    assert sum(rate for _, rate in query.rate(5)) == 0
    assert query.store_status().lag_entries == 0
    assert query.ping()


async def test_a_device_shows_its_record(query: Query, settings: Settings, store: redis.Redis) -> None:
    await write(settings, store, [message("a{1}", payload=b'{"t": 1, "on": true, "s": "' + b"x" * 500 + b'"}')])
    connected(store, "n1", {"a{1}": NOW_MS - 5})
    device = query.device("a{1}")
    assert device is not None
    assert (device.is_connected, device.connected_since_ms, device.is_quiet) == (True, NOW_MS - 5, False)
    assert {path: value.value for path, value in device.values.items()} == {"t": 1, "on": True, "s": "x" * 256}
    assert query.numeric_fields("a{1}") == ["t"]
    (topic,) = device.topics
    assert (topic.topic_name, topic.qos, len(topic.payload_head)) == ("devices/a{1}/up", 1, 256)
    assert topic.payload_bytes > 500


async def test_lists_page_by_time_and_by_name(query: Query, settings: Settings, store: redis.Redis) -> None:
    ids = [f"{'ab'[n % 2]}{n:03d}" for n in range(250)]
    await write(settings, store, [message(each, NOW_MS - n // 10) for n, each in enumerate(ids)])
    by_time = walk(query, limit=7)
    assert sorted(by_time) == sorted(ids)
    seen = [query.devices(search=each).rows[0].last_seen_ms for each in by_time]
    assert seen == sorted(seen, reverse=True)
    assert walk(query, limit=30, sort="name") == sorted(ids)
    assert walk(query, limit=30, search="b0") == sorted(each for each in ids if each.startswith("b0"))
    assert walk(query, search="zz") == []


async def test_lists_by_status(query: Query, settings: Settings, store: redis.Redis) -> None:
    old_ms = NOW_MS - settings.quiet_after_s * 1000 - 1
    await write(settings, store, [message(f"d{n:02d}", NOW_MS if n % 2 else old_ms) for n in range(40)])
    connected(store, "n1", {f"d{n:02d}": NOW_MS - n for n in range(10)})
    connected(store, "n2", {f"d{n:02d}": NOW_MS - n for n in range(8, 20)})
    connected(store, "dead", {"d39": NOW_MS}, NOW_MS - schema.NODE_TTL_S * 1000 - 1)
    online = [f"d{n:02d}" for n in range(20)]
    assert walk(query, status="online", limit=3) == online
    assert walk(query, status="online", search="d1", limit=3) == online[10:]
    assert sorted(walk(query, status="offline", limit=3)) == [f"d{n:02d}" for n in range(20, 40)]
    assert sorted(walk(query, status="quiet", limit=3)) == [f"d{n:02d}" for n in range(0, 40, 2)]
    counts = query.fleet()
    assert (counts.total, counts.online, counts.quiet) == (40, 22, 20)
    assert [(node.id, node.container, node.connections, node.info) for node in query.nodes()] == [
        ("n1", "tcp-1", 3, {"rss": "9"}),
        ("n2", "tcp-1", 3, {"rss": "9"}),
    ]


@pytest.mark.parametrize(
    ("cursor", "sort"), [("x", "name"), ("time:1:a", "name"), ("name:a", "last_seen"), ("time:x:a", "last_seen")]
)
def test_a_bad_cursor_is_refused(query: Query, cursor: str, sort: str) -> None:
    with pytest.raises(ValueError, match="does not continue"):
        query.devices(cursor=cursor, sort=sort)  # type: ignore[arg-type]


async def test_messages_page_and_filter(query: Query, settings: Settings, store: redis.Redis) -> None:
    for start in range(0, 600, 150):
        some = [message("a", payload=b"%d" % n, topic=f"t/{n % 100}") for n in range(start, start + 150)]
        await write(settings, store, some)
    rows, before = [], None
    while True:
        page = query.messages("a", 70, before=before)
        rows += page.rows
        if page.next is None:
            break
        before = MessageId.parse(page.next)
    assert [row.payload for row in rows] == [b"%d" % n for n in reversed(range(600))]
    assert query.message("a", rows[200].id) == rows[200]
    assert query.message("a", MessageId(1, 1)) is None
    newer = query.messages("a", 1000, after=rows[10].id, before=rows[2].id).rows
    assert newer == rows[3:10]
    assert [row.payload for row in query.messages("a", topic="devices/a/t/5").rows] == [
        b"%d" % n for n in range(505, 0, -100)
    ]
    assert len(query.messages("a", 1000, topic="devices/+/t/#").rows) == 600


async def test_a_rare_topic_gives_short_pages(query: Query, settings: Settings, store: redis.Redis) -> None:
    await write(settings, store, [message("a", topic="rare")])
    for _ in range(2):
        big = [message("a", payload=b"x" * 32_768) for _ in range(100)]
        await write(settings.replace(history_bytes=1 << 30), store, big)
    page = query.messages("a", topic="devices/a/rare")
    assert page.rows == []
    assert page.next is not None
    page = query.messages("a", topic="devices/a/rare", before=MessageId.parse(page.next))
    assert len(page.rows) == 1


@pytest.mark.parametrize(
    ("topic_filter", "topic_name", "matches"),
    [("a/b", "a/b", True), ("a/+", "a/b", True), ("a/#", "a", True), ("#", "a/b", True), ("a/+", "a/b/c", False),
     ("a/b/c", "a/b", False), ("#", "$SYS/x", False), ("+/x", "$SYS/x", False), ("$SYS/#", "$SYS/x", True)],
)  # fmt: skip
def test_topic_matches(topic_filter: str, topic_name: str, matches: bool) -> None:
    assert topic_matches(topic_filter, topic_name) is matches


async def test_series_are_rebucketed(query: Query, settings: Settings, store: redis.Redis) -> None:
    start = NOW_MS - NOW_MS % schema.HOUR_MS
    some = [message("a", start + n * 10_000, b'{"t": %d}' % n) for n in range(6 * 90)]
    await write(settings, store, some)
    points = query.series("a", "t", start, start + 90 * schema.MINUTE_MS, 9).points
    assert [(point.ts_ms - start, point.min, point.max, point.mean, point.count) for point in points] == [
        (n * 600_000, n * 60, n * 60 + 59, n * 60 + 29.5, 60) for n in range(9)
    ]
    with pytest.raises(ValueError, match="points"):
        query.series("a", "t", 5, 5, 10)


async def test_rates(query: Query, settings: Settings, store: redis.Redis) -> None:
    await write(settings, store, [message("a", NOW_MS - 15_000)] * 30)
    rates = dict(query.rate(1))
    assert len(rates) == 6
    assert rates[NOW_MS - 20_000] == 3.0


async def test_live_follows_the_log(query: Query, settings: Settings, store: redis.Redis) -> None:
    await write(settings, store, [message("a", payload=b"0")])
    position = query.live(None).next
    assert query.live(position).rows == []
    await write(settings, store, [message("b", payload=b"%d" % n) for n in range(1, 6)])
    first = query.live(position, count=2)
    rest = query.live(first.next, count=100)
    assert [row.payload for row in first.rows + rest.rows] == [b"1", b"2", b"3", b"4", b"5"]
    assert {row.device_id for row in rest.rows} == {"b"}
    assert not first.has_gap
    assert query.live(rest.next, block_ms=20).rows == []
    store.xtrim(schema.LOG, maxlen=0, approximate=False)
    await write(settings, store, [message("c")])
    assert query.live(position).has_gap
    with pytest.raises(ValueError, match="not a message id"):
        query.live("x")


def test_store_status_warns(query: Query, store: redis.Redis) -> None:
    assert query.store_status().warnings == []
    try:
        store.config_set("maxmemory", str(1 << 30))
        store.config_set("maxmemory-policy", "allkeys-lru")
        store.config_set("appendonly", "no")
        warnings = " ".join(query.store_status().warnings)
        store.config_set("maxmemory", "1100000")
        store.config_set("maxmemory-policy", "noeviction")
        full = " ".join(query.store_status().warnings)
    finally:
        store.config_set("maxmemory", "0")
        store.config_set("maxmemory-policy", "noeviction")
        store.config_set("appendonly", "yes")
        until_aof_is_written(store)
    assert "allkeys-lru" in warnings
    assert "nothing on disk" in warnings
    assert "Redis is full" in full


def test_lag_is_shown(query: Query, store: redis.Redis) -> None:
    for _ in range(3):
        store.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame([message("a")])}, id=f"{NOW_MS - 700}-*")
    status = query.store_status()
    assert (status.lag_ms, status.lag_entries) == (700, 3)
