"""Charts: a field's numbers over time, from Redis and the long history (sync reads).

A chart reads the coarsest rollups that are not wider than its buckets, so a year costs what an hour does. Where these do not
reach back far enough, it takes the next coarser ones.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from store import schema
from store.answers import MAX_POINTS, LongHistoryUnavailable, Series, SeriesPoint
from store.rollups import merge_into
from store.schema import DAY, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from store.long_history_query import LongHistoryQuery
    from store.rollups import Aggregate, Aggregates
    from store.schema import Unit

HASH_STEP = 96  # hashes in one round trip
_AGGREGATE = struct.Struct("<dddI")


class Span(NamedTuple):
    """Units from `first` to `last` since the epoch, both in it."""

    unit: Unit
    first: int
    last: int


class SeriesReader:
    """Reads charts as of `now_ms`; `ages_s` tells how long Redis keeps each unit."""

    def __init__(
        self, client: Redis, long_history: LongHistoryQuery | None, ages_s: dict[Unit, int], now_ms: int
    ) -> None:
        self._redis = client
        self._long = long_history
        self._ages_s = ages_s
        self._now_ms = now_ms

    def series(self, device_id: str, field: str, from_ms: int, to_ms: int, points: int) -> Series:
        """Return a field's numbers in at most `points` buckets: whole minutes, hours or (UTC) days that touch the range.

        Buckets without numbers are left out. Raises ValueError for an empty range or points outside 1 to MAX_POINTS.
        """
        if not 0 <= from_ms < to_ms or not 1 <= points <= MAX_POINTS:
            raise ValueError(f"a series needs 0 <= from < to and 1 to {MAX_POINTS} points")
        spans = [Span(unit, from_ms // unit.ms, (to_ms - 1) // unit.ms) for unit in _units((to_ms - from_ms) / points)]
        try:
            return _series(*self._read(device_id, field, spans, self._long), points)
        except LongHistoryUnavailable:
            recent = _series(*self._read(device_id, field, spans, None), points)
            return replace(recent, is_partial=True)

    def _read(
        self, device_id: str, field: str, spans: list[Span], long_history: LongHistoryQuery | None
    ) -> tuple[Span, Aggregates]:
        for span in spans:
            found = self._aggregates(device_id, field, span, long_history)
            if found is not None:
                return span, found
        return spans[-1], self._recent(device_id, field, spans[-1])

    def _aggregates(
        self, device_id: str, field: str, span: Span, long_history: LongHistoryQuery | None
    ) -> Aggregates | None:
        """Return what both stores have of a span; None if they do not have it by this unit."""
        whole_from = self._oldest_kept(span.unit)
        if long_history is not None:
            whole_from = max(whole_from, self._first_seen_ms(device_id) // span.unit.ms + 1)
        if span.first >= whole_from:
            return self._recent(device_id, field, span)
        if long_history is None:
            return None
        old = long_history.rollups(device_id, span.unit, field, span.first, min(span.last, whole_from - 1))
        return None if old is None else _fuller(old, self._recent(device_id, field, span))

    def _oldest_kept(self, unit: Unit) -> int:
        # The one before stands in the same hash nearly always, and who asks for "the last two days" has another clock.
        return (self._now_ms - self._ages_s[unit] * 1000) // unit.ms - 1

    def _first_seen_ms(self, device_id: str) -> int:
        """Return since when Redis knows a device, all of which it may have forgotten before."""
        found: Any = self._redis.hget(schema.device(device_id, "record"), "first_seen")
        return self._now_ms if found is None else int(found)

    def _recent(self, device_id: str, field: str, span: Span) -> Aggregates:
        unit = span.unit
        first = max(span.first, self._oldest_kept(unit) - unit.span)
        last = min(span.last, (self._now_ms + DAY.ms) // unit.ms)  # clocks differ
        numbers = range(first // unit.span, last // unit.span + 1)
        aggregates: Aggregates = {}
        for number, entries in self._hashes(device_id, field, unit, numbers):
            for entry, packed in entries.items():
                bucket = number * unit.span + int(entry)
                if first <= bucket <= last:
                    aggregates[bucket] = _AGGREGATE.unpack(packed)
        return aggregates

    def _hashes(
        self, device_id: str, field: str, unit: Unit, numbers: range
    ) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        for start in range(0, len(numbers), HASH_STEP):
            some = numbers[start : start + HASH_STEP]
            pipeline = self._redis.pipeline(transaction=False)
            for number in some:
                pipeline.hgetall(schema.rollups(device_id, unit, number, field))
            yield from zip(some, pipeline.execute(), strict=True)


def _units(bucket_ms: float) -> tuple[Unit, ...]:
    """Return the units to try: the coarsest that is not wider than a bucket, then those that are."""
    return UNITS[max(sum(unit.ms <= bucket_ms for unit in UNITS), 1) - 1 :]


def _series(span: Span, aggregates: Aggregates, points: int) -> Series:
    width, origin = _buckets(span, points)
    buckets: Aggregates = {}
    for number, aggregate in sorted(aggregates.items()):
        merge_into(buckets, (number - origin) // width, aggregate)
    unit_ms = span.unit.ms
    return Series(
        [_point((origin + bucket * width) * unit_ms, each) for bucket, each in buckets.items()], width * unit_ms
    )


def _buckets(span: Span, points: int) -> tuple[int, int]:
    """Return how many units a bucket has, and where buckets are counted from.

    That is the epoch, so that buckets stay as they are while the range moves; a single one has to begin with the range.
    """
    first, last = span.first, span.last
    if points == 1:
        return last - first + 1, first
    width = -(-(last - first + 1) // points)
    if last // width - first // width >= points:  # they do not begin where the range does
        width = -(-(last - first) // (points - 1))
    return width, 0


def _point(ts_ms: int, aggregate: Aggregate) -> SeriesPoint:
    low, high, total, count = aggregate
    return SeriesPoint(ts_ms, low, high, total / count, count)


def _fuller(old: Aggregates, recent: Aggregates) -> Aggregates:
    """Return the aggregates of both; of one that both have, the one that counts more."""
    return {**old, **{at: each for at, each in recent.items() if at not in old or each[3] >= old[at][3]}}
