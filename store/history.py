"""A device's recent messages, and its charts (sync reads).

History is kept in chunks: a stream entry holds up to 128 messages and has the id of the first of them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from store import schema
from store.answers import MAX_PAGE, MAX_POINTS, Page, SeriesPoint, StoredMessage
from store.model import Message, MessageId, decode_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    Chunk = list[tuple[MessageId, Message]]

MAX_CHUNKS = 128  # read for one page: 4 MiB of small messages, about
CHUNK_STEP = 16
MAX_HOURS = 31 * 24  # of minutes read for one chart
HOUR_STEP = 96
_MINUTE = struct.Struct("<dddI")
_unpack_ids = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


def messages(
    client: Redis,
    device_id: str,
    limit: int,
    before: MessageId | None,
    after: MessageId | None,
    topic_filter: str | None,
) -> Page[StoredMessage]:
    """Return messages between two ids (both left out), newest first; `next` is the `before` of the next page.

    Reads MAX_CHUNKS at most: where few messages match the topic filter, a page may be short and have a next one.
    """
    limit = max(1, min(limit, MAX_PAGE))
    rows: list[StoredMessage] = []
    position = before
    for number, chunk in enumerate(_chunks(client, device_id, before)):
        if number == MAX_CHUNKS:
            return Page(rows, str(position))
        for message_id, message in reversed(chunk):
            if before is not None and message_id >= before:
                continue
            if after is not None and message_id <= after:
                return Page(rows, None)
            if len(rows) == limit:
                return Page(rows, str(position))
            position = message_id
            if topic_filter is None or topic_matches(topic_filter, message.topic_name):
                rows.append(stored(message_id, device_id, message))
    return Page(rows, None)


def message(client: Redis, device_id: str, message_id: MessageId) -> StoredMessage | None:
    """Return one message whole; None if it is not kept any more."""
    entries: Any = client.xrevrange(schema.device(device_id, "history"), str(message_id), "-", 1)
    for _, fields in entries:
        for each, found in _decode_chunk(fields):
            if each == message_id:
                return stored(each, device_id, found)
    return None


def series(client: Redis, device_id: str, field: str, from_ms: int, to_ms: int, points: int) -> list[SeriesPoint]:
    """Return a field's numbers from `from_ms` to before `to_ms` in at most `points` buckets of whole minutes (2 where that is 1).

    Buckets without numbers are left out; of a longer range only the last MAX_HOURS are read.
    Raises ValueError for an empty range or a number of points outside 1 to MAX_POINTS.
    """
    if not 0 <= from_ms < to_ms or not 1 <= points <= MAX_POINTS:
        raise ValueError(f"a series needs 0 <= from < to and 1 to {MAX_POINTS} points")
    from_ms = max(from_ms, to_ms - MAX_HOURS * schema.HOUR_MS)
    first, last = from_ms // schema.MINUTE_MS, (to_ms - 1) // schema.MINUTE_MS
    bucket_minutes = max(1, -(-(last - first + 1) // points))
    while points > 1 and last // bucket_minutes - first // bucket_minutes >= points:  # they do not begin where it does
        bucket_minutes += 1
    buckets: dict[int, tuple[float, float, float, int]] = {}
    for minute, (low, high, total, count) in _minutes(client, device_id, field, from_ms, to_ms):
        bucket = minute // bucket_minutes
        old_low, old_high, old_total, old_count = buckets.get(bucket, (low, high, 0.0, 0))
        buckets[bucket] = (min(low, old_low), max(high, old_high), total + old_total, count + old_count)
    return [
        SeriesPoint(bucket * bucket_minutes * schema.MINUTE_MS, low, high, total / count, count)
        for bucket, (low, high, total, count) in sorted(buckets.items())
    ]


def stored(message_id: MessageId, device_id: str, message: Message) -> StoredMessage:
    """Return a message of a frame as the dashboard sees it."""
    return StoredMessage(
        id=message_id,
        device_id=device_id,
        client_id=message.client_id,
        ts_ms=message.received_ms,
        topic_name=message.topic_name,
        qos=message.qos,
        is_retain=message.is_retain,
        payload=message.payload,
    )


def topic_matches(topic_filter: str, topic_name: str) -> bool:
    """Whether a topic name is one of a topic filter's [v5 §4.7]; a name without wildcards is its own filter."""
    if topic_name.startswith("$") and topic_filter[:1] in ("+", "#"):  # [v5 MQTT-4.7.2-1]
        return False
    wanted, levels = topic_filter.split("/"), topic_name.split("/")
    for position, part in enumerate(wanted):
        if part == "#":
            return True
        if position >= len(levels) or part not in ("+", levels[position]):
            return False
    return len(levels) == len(wanted)


def _chunks(client: Redis, device_id: str, before: MessageId | None) -> Iterator[Chunk]:
    key = schema.device(device_id, "history")
    end = "+" if before is None else f"({before}"
    while True:
        entries: Any = client.xrevrange(key, end, "-", CHUNK_STEP)
        for _, fields in entries:
            yield _decode_chunk(fields)
        if len(entries) < CHUNK_STEP:
            return
        end = "(" + entries[-1][0].decode()


def _decode_chunk(fields: dict[bytes, bytes]) -> Chunk:
    ids = [MessageId(ms, seq) for ms, seq in _unpack_ids(fields[b"i"])]
    return list(zip(ids, decode_frame(fields[b"f"]), strict=True))


def _minutes(
    client: Redis, device_id: str, field: str, from_ms: int, to_ms: int
) -> Iterator[tuple[int, tuple[float, float, float, int]]]:
    """Yield minute (since the epoch) and aggregate of the minutes that begin in the range or hold its start."""
    first, last = from_ms // schema.MINUTE_MS, (to_ms - 1) // schema.MINUTE_MS
    hours = range(first // 60, last // 60 + 1)
    for start in range(0, len(hours), HOUR_STEP):
        pipeline = client.pipeline(transaction=False)
        some = hours[start : start + HOUR_STEP]
        for hour in some:
            pipeline.hgetall(schema.minutes(device_id, field, hour))
        for hour, rows in zip(some, pipeline.execute(), strict=True):
            for text, aggregate in rows.items():
                minute = hour * 60 + int(text)
                if first <= minute <= last:
                    yield minute, _MINUTE.unpack(aggregate)
