"""Numbers rolled up by minute, hour and day: min, max, sum and count of a field. Pure.

Each unit is written from the same messages; none is made of another later, so a late message finds its place in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.schema import DAY, HOUR, MINUTE, MINUTE_MS, rollups

if TYPE_CHECKING:
    from settings import Settings
    from store.schema import Unit

    Bucket = tuple[Unit, int]
    """A unit and which one since the epoch."""

Aggregate = tuple[float, float, float, int]
"""Min, max, sum and count of some numbers."""
Aggregates = dict[int, Aggregate]
"""Aggregates by which minute, hour or day since the epoch they are of."""

MINUTES_OF_HOUR, MINUTES_OF_DAY = HOUR.ms // MINUTE_MS, DAY.ms // MINUTE_MS


def merge_into(aggregates: Aggregates, bucket: int, aggregate: Aggregate) -> None:
    """Add what `aggregate` counts to that of `bucket`."""
    before = aggregates.get(bucket)
    if before is not None:
        low, high, total, count = aggregate
        aggregate = (min(low, before[0]), max(high, before[1]), total + before[2], count + before[3])
    aggregates[bucket] = aggregate


def buckets_of(minutes: Aggregates) -> list[tuple[Aggregate, list[Bucket]]]:
    """Return every aggregate that minutes make, with the minute, hour and day it goes into."""
    if len(minutes) == 1:  # as nearly always while the projector keeps up
        ((minute, aggregate),) = minutes.items()
        hour, day = minute // MINUTES_OF_HOUR, minute // MINUTES_OF_DAY
        return [(aggregate, [(MINUTE, minute), (HOUR, hour), (DAY, day)])]
    found = [(aggregate, [(MINUTE, minute)]) for minute, aggregate in minutes.items()]
    for unit in (HOUR, DAY):
        coarse: Aggregates = {}
        for minute, aggregate in minutes.items():
            merge_into(coarse, minute * MINUTE_MS // unit.ms, aggregate)
        found += [(aggregate, [(unit, bucket)]) for bucket, aggregate in coarse.items()]
    return found


def ages_s(settings: Settings) -> dict[Unit, int]:
    """Return the age to which each unit is kept in Redis."""
    return {MINUTE: settings.rollup_age_s, HOUR: settings.hour_rollup_age_s, DAY: settings.day_rollup_age_s}


class RollupPlaces:
    """Where the rollups of one device go, at `now_ms`."""

    def __init__(self, device_id: str, ages_s: dict[Unit, int], now_ms: int) -> None:
        self._device_id = device_id
        self._ages_s = ages_s
        self._now_ms = now_ms
        self._known: dict[Bucket, tuple[str, int, int] | None] = {}

    def of(self, bucket: Bucket) -> tuple[str, int, int] | None:
        """Return the key of a bucket but for the field, its entry there, and seconds to keep it; None: it is too old."""
        if bucket not in self._known:  # the fields of a message share their buckets
            self._known[bucket] = self._find(*bucket)
        return self._known[bucket]

    def _find(self, unit: Unit, number: int) -> tuple[str, int, int] | None:
        age_s = self._ages_s[unit]
        if (number + 1) * unit.ms <= self._now_ms - age_s * 1000:
            return None
        hash_number, entry = divmod(number, unit.span)
        return rollups(self._device_id, unit, hash_number, ""), entry, age_s + unit.ms // 1000
