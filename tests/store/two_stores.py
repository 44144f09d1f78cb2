"""The same messages in Redis, in MongoDB, or in both with a seam, written the way the broker writes them."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from broker.outlets.long_history import LongHistoryOutlet
from broker.projector.grouping import DeviceGroups
from store import schema
from store.connection import connect_async
from store.link import StoreLink
from store.model import DeviceNaming, Message, MessageId
from store.schema import DAY
from store.views import Views

if TYPE_CHECKING:
    import redis

    from settings import Settings

    Row = tuple[MessageId, str, Message]

NAMING = DeviceNaming(("devices/{device}/#",))
NOW_MS = 1_760_000_000_000
DEVICES = ("d1", "d.{2}", "$grün")
LEAVES = ("up", "up/env", "", "$x/ü", "state")
BATCH = 9  # messages projected at once: chunks of the history are of different lengths


def messages(count: int, seed: int, days: float) -> list[Row]:
    """Return messages in the order of the log, over some days before NOW_MS; some were received long before their commit."""
    chance = random.Random(seed)
    moments = sorted(chance.randrange(int(days * DAY.ms)) // 1000 * 1000 for _ in range(count))
    rows: list[Row] = []
    for number, moment in enumerate(moments):
        ms = NOW_MS - int(days * DAY.ms) + moment
        device = chance.choice(DEVICES)
        late_ms = chance.choice((0, 0, 0, 7, 61_000, 50 * 60_000))
        topic = f"devices/{device}/{chance.choice(LEAVES)}"
        message = Message(
            topic, f"client-{device}", ms - late_ms, chance.randrange(16) & 0b1101, _payload(chance, number)
        )
        rows.append((MessageId(ms, (number << 16) | chance.randrange(3)), device, message))
    return rows


def _payload(chance: random.Random, number: int) -> bytes:
    payload: Any = chance.choice((
        {"t": number % 50 - 10.5, "n": number},
        {"env": {"t": number, "list": [number, -number]}, "t": 7},
        {"a.b": number, "a": {"c": True}, "$p": 2**40 + number, "": 1, "ü": None},
        number / 4,
    ))  # fmt: skip
    return chance.choice((json.dumps(payload).encode(), b"\xff\x00" * (number % 5), "grün".encode()))


async def project(settings: Settings, rows: list[Row]) -> None:
    """Write messages to Redis as the projector does."""
    async with connect_async(settings) as client:
        link = StoreLink(settings.redis_url)
        running = asyncio.create_task(link.run())
        views = Views(client, settings, link)
        for start in range(0, len(rows), BATCH):
            groups = DeviceGroups()
            for message_id, _, message in rows[start : start + BATCH]:
                groups.add_entry(message_id.log_id.encode(), [message], NAMING, message_id.seq & 0xFFFF)
            assert not any(await views.apply_devices([group.write() for group in groups.groups()], NOW_MS))
            await views.index_devices(groups.last_seen_ms())
        running.cancel()


def cut(store: redis.Redis, device: str, chunks: int) -> None:
    """Remove the oldest chunks of a device's history, as a bound of it does."""
    key = schema.device(device, "history")
    for chunk, _ in store.xrange(key, count=chunks):
        store.xdel(key, chunk)


async def archive(settings: Settings, rows: list[Row]) -> None:
    """Write messages and their rollups to MongoDB as the outlet does; what is there already stays as it is."""
    outlet = LongHistoryOutlet(settings.replace(long_history_age_s=0, long_rollup_age_s=0))  # NOW_MS is long ago
    await outlet.open()
    try:
        await outlet.write(rows)
    finally:
        await outlet.close()
