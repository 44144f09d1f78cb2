"""What a device's views have to show, by the messages of its history. Pure.

Only what views can hold is kept: rollups within their ages, and as many fields and topics as a device may have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.model import START
from store.rollups import buckets_of, merge_into
from store.scan import LATE_MS
from store.schema import MAX_FIELDS, MAX_TOPICS

if TYPE_CHECKING:
    from collections.abc import Collection

    from store.rollups import Aggregates, RollupPlaces
    from store.schema import Unit
    from store.views import DeviceWrite


class DeviceRecount:
    """Counts messages in order. `fields`, `topics`: those that the views have; others count while there is room."""

    def __init__(self, places: RollupPlaces, fields: Collection[str], topics: Collection[str]) -> None:
        self.messages = 0
        self.payload_bytes = 0
        self.first = START
        self.last = START
        self.first_ms = 0
        self.last_ms = 0
        self.client_id = ""
        self.values: dict[str, bytes] = {}
        self.topics: dict[str, bytes] = {}
        self.rollups: dict[tuple[str, Unit], Aggregates] = {}
        self._places = places
        self._fields = set(fields)
        self._topics = set(topics)

    def add(self, write: DeviceWrite) -> None:
        """Count the next messages, as the projector has grouped them."""
        if not self.messages:
            self.first, self.first_ms = write.first, write.first_ms
        self.last, self.client_id = write.last, write.client_id
        self.last_ms = max(self.last_ms, write.last_ms)
        self.messages += write.messages
        self.payload_bytes += write.payload_bytes
        for path, value, minutes in write.fields:
            if _has_room(self._fields, path, MAX_FIELDS):
                self.values[path] = value
                self._add_minutes(path, minutes)
        for name, state in write.topics:
            if _has_room(self._topics, name, MAX_TOPICS):
                self.topics[name] = state

    def has_all_of(self, unit: Unit, number: int) -> bool:
        """Whether these messages, of which older ones were cut off, cover a unit of time wholly."""
        return number * unit.ms > self.first.ms + LATE_MS

    def _add_minutes(self, path: str, minutes: Aggregates) -> None:
        for aggregate, buckets in buckets_of(minutes):
            for unit, number in buckets:
                if self._places.of((unit, number)) is not None:
                    merge_into(self.rollups.setdefault((path, unit), {}), number, aggregate)


def _has_room(known: set[str], name: str, most: int) -> bool:
    if name not in known and len(known) < most:
        known.add(name)
    return name in known
