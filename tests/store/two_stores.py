"""The same messages in Redis, in MongoDB, or in both with a seam, written the way the broker writes them."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS

from broker.projector.grouping import DeviceGroups
from store import schema
from store.connection import connect_async
from store.documents import document_of, escape
from store.json_fields import fields_of, is_charted
from store.link import StoreLink
from store.model import DeviceNaming, Message, MessageId
from store.mongo import MESSAGES, ROLLUPS
from store.rollups import merge_into
from store.schema import DAY, HOUR
from store.views import Views

if TYPE_CHECKING:
    from datetime import datetime

    import redis
    from pymongo.database import Database

    from settings import Settings
    from store.rollups import Aggregates

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
            groups = DeviceGroups(NAMING)
            for message_id, _, message in rows[start : start + BATCH]:
                groups.add(message_id.log_id.encode(), [message], message_id.seq & 0xFFFF)
            assert not any(await views.apply_devices([group.write() for group in groups.all], NOW_MS))
            await views.index_devices(groups.last_seen_ms())
        running.cancel()


def cut(store: redis.Redis, device: str, chunks: int) -> None:
    """Remove the oldest chunks of a device's history, as a bound of it does."""
    key = schema.device(device, "history")
    for chunk, _ in store.xrange(key, count=chunks):
        store.xdel(key, chunk)


def archive(database: Database[dict[str, Any]], rows: list[Row], *, rollups: bool = True) -> None:
    """Write messages and their rollups to MongoDB."""
    if not rows:
        return
    database[MESSAGES].create_index([("device", 1), ("_id", 1)])
    database[ROLLUPS].create_index([("device", 1), ("unit", 1), ("start", 1)], unique=True)
    database[MESSAGES].insert_many([document_of(*row) for row in rows])
    documents = rollup_documents(rows)
    if documents and rollups:
        database[ROLLUPS].insert_many(documents)


def rollup_documents(rows: list[Row]) -> list[dict[str, Any]]:
    aggregates: dict[tuple[str, str, int], dict[str, Aggregates]] = {}
    for _, device, message in rows:
        for unit, name in ((HOUR, "hour"), (DAY, "day")):
            number = message.received_ms // unit.ms
            start, entry = divmod(number, 24) if unit is HOUR else _month(number)
            fields = aggregates.setdefault((device, name, start), {})
            for path, value in fields_of(message.payload):
                if is_charted(value):
                    merge_into(fields.setdefault(escape(path), {}), entry, (float(value), float(value), value, 1))
    return [
        {
            "device": device,
            "unit": unit,
            "start": DatetimeMS(start * DAY.ms),
            "fields": {
                path: {
                    str(entry): dict(zip(("min", "max", "sum", "count"), each, strict=True))
                    for entry, each in of.items()
                }
                for path, of in fields.items()
            },
        }
        for (device, unit, start), fields in aggregates.items()
    ]


def _month(day: int) -> tuple[int, int]:
    """Return the first day (since the epoch) of a day's month, and its number there."""
    moment: datetime = DatetimeMS(day * DAY.ms).as_datetime()
    return day - moment.day + 1, moment.day
