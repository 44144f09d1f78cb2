"""The list of devices, a page at a time, and one device's record (sync reads).

A list reads an index in its order and stops at a bound: with a status that few devices have, a page may be short and
still have a next one.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from store import presence, schema
from store.answers import MAX_PAGE, Device, DeviceSummary, Page, Status, TopicState, Value
from store.json_fields import fields_of, storable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from store.answers import StoredMessage

    Candidate = tuple[str, str]
    """A device and the cursor that continues after it."""

Sort = Literal["last_seen", "name"]

HEAD_BYTES = 256  # of a topic's last payload
MAX_EXAMINED = 2000  # devices looked at for one page
STEP = 100
_unpack = msgspec.msgpack.Decoder().decode


class DeviceReader:
    """Reads devices as they are at `now_ms`."""

    def __init__(self, client: Redis, quiet_after_s: int, now_ms: int) -> None:
        self._redis = client
        self._now_ms = now_ms
        self._quiet_before_ms = now_ms - quiet_after_s * 1000

    def page(
        self, search: str, status: Status | None, limit: int, cursor: str | None, sort: Sort
    ) -> Page[DeviceSummary]:
        """Return devices whose id starts with `search` and that have `status`. Raises ValueError for a bad cursor."""
        limit = max(1, min(limit, MAX_PAGE))
        candidates = self._by_name(search, cursor) if search or sort == "name" else self._by_time(status, cursor)
        rows: list[DeviceSummary] = []
        examined, last = 0, None
        while some := list(islice(candidates, STEP)):
            for summary, (_, after) in zip(self._summaries([name for name, _ in some]), some, strict=True):
                if len(rows) == limit or examined == MAX_EXAMINED:
                    return Page(rows, last)
                examined, last = examined + 1, after
                if _has_status(summary, status):
                    rows.append(summary)
        return Page(rows, None)

    def device(self, device_id: str) -> Device | None:
        """Return all that is known of a device; None if it has neither published nor is connected."""
        pipeline = self._redis.pipeline(transaction=False)
        for part in ("record", "values", "topics"):
            pipeline.hgetall(schema.device(device_id, part))
        record, values, topics = pipeline.execute()
        (since_ms,) = presence.connected_since(self._redis, self._now_ms, [device_id])
        if not record and since_ms is None:
            return None
        last_seen_ms = int(record.get(b"last_seen", 0))
        return Device(
            id=device_id,
            is_connected=since_ms is not None,
            is_quiet=self._is_quiet(last_seen_ms, since_ms),
            connected_since_ms=since_ms,
            first_seen_ms=int(record.get(b"first_seen", 0)),
            last_seen_ms=last_seen_ms,
            messages=int(record.get(b"messages", 0)),
            bytes=int(record.get(b"bytes", 0)),
            client_id=record.get(b"client_id", b"").decode(),
            values={path.decode(): Value(*_unpack(values[path])) for path in sorted(values)},
            topics=[_topic(name, topics[name]) for name in sorted(topics)],
        )

    def _by_name(self, search: str, cursor: str | None) -> Iterator[Candidate]:
        prefix = search.encode()
        start = b"[" + prefix if cursor is None else b"(" + _after_name(cursor).encode()
        end = b"[" + prefix + b"\xff" if prefix else b"+"  # no UTF-8 text holds the byte 0xff
        return self._names(start if start != b"[" else b"-", end)

    def _names(self, start: bytes, end: bytes) -> Iterator[Candidate]:
        while True:
            names: Any = self._redis.zrangebylex(schema.DEVICES_NAMES, start, end, 0, STEP)
            for name in names:
                yield name.decode(), f"name:{name.decode()}"
            if len(names) < STEP:
                return
            start = b"(" + names[-1]

    def _by_time(self, status: Status | None, cursor: str | None) -> Iterator[Candidate]:
        """Newest last message first; online devices by when they connected, so that none but them are read."""
        keys = [schema.DEVICES_SEEN]
        if status == "online":
            keys = [schema.presence(node) for node in presence.live_nodes(self._redis, self._now_ms)]
        after = None if cursor is None else _after_time(cursor)
        if after is None and status == "quiet":
            after = (self._quiet_before_ms, b"")
        merged = heapq.merge(*(self._times(key, after) for key in keys), reverse=True)
        before: bytes | None = None
        for ms, name in merged:
            if name != before:
                yield name.decode(), f"time:{ms}:{name.decode()}"
            before = name

    def _times(self, key: str, after: tuple[int, bytes] | None) -> Iterator[tuple[int, bytes]]:
        """Yield (ms, device) of an index in descending order, from the first that is less than `after`."""
        highest: int | str = "+inf" if after is None else after[0]
        offset = 0
        while True:
            rows: Any = self._redis.zrevrangebyscore(key, highest, "-inf", offset, STEP, withscores=True)
            for name, score in rows:
                if after is None or (int(score), name) < after:
                    yield int(score), name
            if len(rows) < STEP:
                return
            offset += STEP

    def _summaries(self, device_ids: list[str]) -> list[DeviceSummary]:
        pipeline = self._redis.pipeline(transaction=False)
        for device_id in device_ids:
            pipeline.hmget(schema.device(device_id, "record"), ["last_seen", "messages"])
        since = presence.connected_since(self._redis, self._now_ms, device_ids)
        return [
            DeviceSummary(
                id=device_id,
                is_connected=since_ms is not None,
                is_quiet=self._is_quiet(int(last_seen_ms or 0), since_ms),
                last_seen_ms=int(last_seen_ms or 0),
                messages=int(messages or 0),
            )
            for device_id, since_ms, (last_seen_ms, messages) in zip(device_ids, since, pipeline.execute(), strict=True)
        ]

    def _is_quiet(self, last_seen_ms: int, since_ms: int | None) -> bool:
        """Whether it is long since the last message; for a device that never sent one, since it connected."""
        return (last_seen_ms or since_ms or 0) < self._quiet_before_ms


def device_of_messages(first: StoredMessage, last: StoredMessage, messages: int) -> Device:
    """Return what the oldest and the newest message tell of a device that Redis does not know any more."""
    scalars = {path: storable(value) for path, value in fields_of(last.payload)}
    head = last.payload[:HEAD_BYTES]
    return Device(
        id=last.device_id,
        is_connected=False,
        is_quiet=True,
        connected_since_ms=None,
        first_seen_ms=first.ts_ms,
        last_seen_ms=last.ts_ms,
        messages=messages,
        bytes=0,
        client_id=last.client_id,
        values={path: Value(value, last.ts_ms) for path, value in sorted(scalars.items())},
        topics=[TopicState(last.topic_name, last.ts_ms, last.qos, last.is_retain, head, len(last.payload))],
    )


def _has_status(summary: DeviceSummary, status: Status | None) -> bool:
    if status == "quiet":
        return summary.is_quiet
    return status is None or summary.is_connected == (status == "online")


def _after_name(cursor: str) -> str:
    kind, _, name = cursor.partition(":")
    if kind != "name":
        raise ValueError(f"{cursor!r} does not continue a list by name")
    return name


def _after_time(cursor: str) -> tuple[int, bytes]:
    kind, _, rest = cursor.partition(":")
    ms, _, name = rest.partition(":")
    if kind != "time" or not (ms.isascii() and ms.isdigit() and len(ms) < 16):
        raise ValueError(f"{cursor!r} does not continue a list by time")
    return int(ms), name.encode()


def _topic(name: bytes, state: bytes) -> TopicState:
    ts_ms, qos, is_retain, head, size = _unpack(state)
    return TopicState(name.decode(), ts_ms, qos, bool(is_retain), head, size)
