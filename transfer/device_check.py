"""Hold one device's views in Redis against the messages of its history (async)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from broker.projector.grouping import DeviceGroup
from store import schema
from store.chunks import CHUNK_STEP, read_chunk
from store.mending import Change
from store.model import START, MessageId
from store.rollups import RollupPlaces
from transfer.device_recount import DeviceRecount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from store.chunks import Entry
    from store.rollups import Aggregate
    from store.schema import Unit

TRIES = 5
UNMENDABLE = " (cannot be repaired)"
_AGGREGATE = struct.Struct("<dddI")
_decode = msgspec.msgpack.Decoder().decode


@dataclass
class DeviceReport:
    """What is wrong with a device, in words, and what sets it right.

    `position`, `messages`: its record's, as read. `last_seen`: as its record should have it.
    """

    device_id: str
    last_seen: int = 0
    position: bytes = b""
    messages: bytes = b""
    differences: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def wrong(self, what: str, *changes: Change) -> None:
        """Note a difference; without changes it cannot be set right."""
        self.differences.append(what if changes else what + UNMENDABLE)
        self.changes += changes


class DeviceCheck:
    """Checks devices of one store. Raises redis.RedisError."""

    def __init__(self, client: Redis, ages_s: dict[Unit, int], now_ms: int) -> None:
        self._redis: Any = client
        self._ages_s = ages_s
        self._now_ms = now_ms

    async def check(self, device_id: str) -> DeviceReport | None:
        """Return what is wrong with a device; None where messages kept coming while it was looked at."""
        for _ in range(TRIES):
            report = await self._check(device_id)
            key = schema.device(device_id, "record")
            now = await self._redis.hmget(key, ["position", "messages"])
            if not report.differences or now == [report.position or None, report.messages or None]:
                return report
        return None

    async def _check(self, device_id: str) -> DeviceReport:
        pipeline = self._redis.pipeline(transaction=False)
        for part in ("record", "values", "topics"):
            pipeline.hgetall(schema.device(device_id, part))
        pipeline.zscore(schema.DEVICES_SEEN, device_id)
        pipeline.zscore(schema.DEVICES_NAMES, device_id)
        record, values, topics, seen, name = await pipeline.execute()
        report = DeviceReport(device_id, 0, record.get(b"position", b""), record.get(b"messages", b""))
        were_shed = bool(await self._redis.hget(schema.RETENTION, "rollups"))
        places = RollupPlaces(device_id, self._ages_s, self._now_ms)
        recount = DeviceRecount(places, _texts(values), _texts(topics))
        history = _History()
        async for entries in self._entries(device_id):
            history.add(entries, recount, device_id)
        compare = _Comparison(report, recount, record, places)
        compare.history(history)
        compare.record(history)
        compare.last("values", values, recount.values, 1)
        compare.last("topics", topics, recount.topics, 0)
        await self._compare_rollups(compare, places, were_shed=were_shed)
        report.last_seen = compare.last_seen
        if seen != report.last_seen or name is None:
            report.differences.append(
                f"the lists of devices have it last seen at {seen}, its record at {report.last_seen}"
            )
        return report

    async def _entries(self, device_id: str) -> AsyncIterator[list[Entry]]:
        key, start = schema.device(device_id, "history"), "-"
        while True:
            entries: list[Entry] = await self._redis.xrange(key, start, "+", CHUNK_STEP)
            if entries:
                yield entries
            if len(entries) < CHUNK_STEP:
                return
            start = f"({entries[-1][0].decode()}"

    async def _compare_rollups(self, compare: _Comparison, places: RollupPlaces, *, were_shed: bool) -> None:
        for (path, unit), aggregates in compare.recount.rollups.items():
            keys: dict[str, dict[bytes, tuple[int, Aggregate]]] = {}
            keep_s = 0
            for number, aggregate in aggregates.items():
                prefix, entry, keep_s = places.of((unit, number)) or ("", 0, 0)
                keys.setdefault(prefix + path, {})[b"%d" % entry] = (number, aggregate)
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            for (key, expected), stored in zip(keys.items(), await pipeline.execute(), strict=True):
                if not stored and were_shed:  # to make room, whole hashes
                    continue
                compare.rollups(key, path, unit, expected, stored)
                if not stored:
                    compare.report.changes.append(Change("EXPIRE", key, (keep_s,)))


class _History:
    """What a history turns out to hold."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.unreadable: list[bytes] = []
        self._last = START

    def add(self, entries: list[Entry], recount: DeviceRecount, device_id: str) -> None:
        for entry in entries:
            messages = self._read(entry)
            if messages is None:
                self.unreadable.append(entry[0])
                continue
            group = DeviceGroup(device_id)
            for each in messages:
                group.add(*each)
            recount.add(group.write())
            self.count += len(messages)
            self.bytes += len(entry[1][b"f"]) + len(entry[1][b"i"])
            self._last = messages[-1][0]

    def _read(self, entry: Entry) -> Any:
        """Return the messages of a chunk; None if it is not as it should be."""
        entry_id, fields = entry
        try:
            messages = read_chunk(entry)
        except (KeyError, ValueError):
            return None
        ids = [message_id for message_id, _ in messages]
        is_right = bool(ids) and ids == sorted(set(ids)) and ids[0] > self._last
        return (
            messages if is_right and str(ids[0]).encode() == entry_id and fields.get(b"n") == b"%d" % len(ids) else None
        )


class _Comparison:
    """Compares stored views with a recount, and notes what differs."""

    def __init__(
        self, report: DeviceReport, recount: DeviceRecount, record: dict[bytes, bytes], places: RollupPlaces
    ) -> None:
        self.report = report
        self._places = places
        self.recount = recount
        self.is_whole = False
        self.last_seen = int(record.get(b"last_seen", 0))
        self._record = record
        self._record_key = schema.device(report.device_id, "record")

    def history(self, history: _History) -> None:
        """Compare the history with itself."""
        key = schema.device(self.report.device_id, "history")
        for entry_id in history.unreadable:
            what = f"chunk {entry_id.decode()} of the history cannot be read or is out of order"
            self.report.wrong(what, Change("XDEL", key, (entry_id,)))
        self.is_whole = self._number("messages") == history.count

    def record(self, history: _History) -> None:
        """Compare the record with the history."""
        recount = self.recount
        self._equal("history_count", history.count)
        self._equal("history_bytes", history.bytes)
        if not recount.messages:
            return
        self._at_least("messages", recount.messages)
        if self.is_whole:
            self._equal("bytes", recount.payload_bytes)
        else:
            self._at_least("bytes", recount.payload_bytes)
        position = MessageId.parse(self._record.get(b"position", b"0-0").decode())
        if position < recount.last:
            self._wrong("position", str(recount.last))
        elif position > recount.last:
            self.report.wrong(f"position is {position}, but the history ends at {recount.last}")
        if position <= recount.last and self._record.get(b"client_id") != recount.client_id.encode():
            self._wrong("client_id", recount.client_id)
        self._at_least("last_seen", recount.last_ms)
        self.last_seen = max(self.last_seen, recount.last_ms)
        if not 0 < self._number("first_seen") <= recount.first_ms:
            self._wrong("first_seen", str(recount.first_ms))

    def last(self, part: str, stored: dict[bytes, bytes], expected: dict[str, bytes], ts_at: int) -> None:
        """Compare last values, or topics; a stored one may be of a later message that is not kept."""
        key = schema.device(self.report.device_id, part)
        for name, value in expected.items():
            mine = stored.get(name.encode())
            if mine != value and (mine is None or not _is_later(mine, value, ts_at)):
                what = f"{part} of {name!r} are not those of the last message"
                self.report.wrong(what, Change("HSET", key, (name, value)))
        if self.is_whole:
            for odd in _texts(stored) - set(expected):
                self.report.wrong(f"{part} of {odd!r}: no message has it", Change("HDEL", key, (odd,)))

    def rollups(
        self,
        key: str,
        path: str,
        unit: Unit,
        expected: dict[bytes, tuple[int, Aggregate]],
        stored: dict[bytes, bytes],
    ) -> None:
        """Compare one hash of rollups, as far as the messages that are kept tell."""
        for entry, (number, aggregate) in expected.items():
            mine = _AGGREGATE.unpack(stored[entry]) if entry in stored else (0.0, 0.0, 0.0, 0)
            is_exact = self.is_whole or self.recount.has_all_of(unit, number)
            if mine[3] < aggregate[3] or (is_exact and not _is_close(mine, aggregate)):
                what = f"rollup {unit.letter} {number} of {path!r} is {mine}, by its messages {aggregate}"
                self.report.wrong(what, Change("HSET", key, (entry, _AGGREGATE.pack(*aggregate))))
        first = min(number - int(entry) for entry, (number, _) in expected.items())
        for entry in set(stored) - set(expected):
            number = first + int(entry)
            if self._places.of((unit, number)) is None:  # so old that it goes with its hash: nothing counts it anew
                continue
            if self.is_whole or self.recount.has_all_of(unit, number):
                what = f"rollup {unit.letter} {number} of {path!r}: no message has it"
                self.report.wrong(what, Change("HDEL", key, (entry,)))

    def _number(self, name: str) -> int:
        text = self._record.get(name.encode(), b"0")
        return int(text) if text.isdigit() else 0

    def _equal(self, name: str, expected: int) -> None:
        if self._number(name) != expected:
            self._wrong(name, str(expected))

    def _at_least(self, name: str, expected: int) -> None:
        if self._number(name) < expected:
            self._wrong(name, str(expected))

    def _wrong(self, name: str, expected: str) -> None:
        stored = self._record.get(name.encode(), b"missing").decode()
        what = f"{name} is {stored}, by the history {expected}"
        self.report.wrong(what, Change("HSET", self._record_key, (name, expected)))


def _texts(stored: dict[bytes, bytes]) -> set[str]:
    return {name.decode() for name in stored}


def _is_later(mine: bytes, other: bytes, ts_at: int) -> bool:
    try:
        return bool(_decode(mine)[ts_at] > _decode(other)[ts_at])
    except (ValueError, TypeError, IndexError):
        return False


def _is_close(mine: Aggregate, other: Aggregate) -> bool:
    """Whether two are equal but for the order in which their numbers were added."""
    near = abs(other[2]) + max(abs(other[0]), abs(other[1])) * other[3]
    return (
        mine[:2] == other[:2] and mine[3] == other[3] and math.isclose(mine[2], other[2], abs_tol=1e-9 * near + 1e-300)
    )
