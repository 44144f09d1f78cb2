"""What a device's history answers, worked out from a list of all its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.answers import Series, SeriesPoint
from store.json_fields import fields_of, is_charted
from store.scan import stored, topic_matches
from store.schema import UNITS

if TYPE_CHECKING:
    from two_stores import Row

    from store.answers import StoredMessage
    from store.model import MessageId


class PlainModel:
    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def messages(
        self,
        device_id: str,
        before: MessageId | None = None,
        after: MessageId | None = None,
        topic: str | None = None,
        field: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        order: str = "newest",
    ) -> list[StoredMessage]:
        """Every message that all pages together have to show."""
        found = [
            stored(message_id, device_id, message)
            for message_id, device, message in self._rows
            if device == device_id
            and (before is None or message_id < before)
            and (after is None or message_id > after)
            and (topic is None or topic_matches(topic, message.topic_name))
            and (field is None or field in dict(fields_of(message.payload)))
            and (from_ms is None or message.received_ms >= from_ms)
            and (to_ms is None or message.received_ms < to_ms)
        ]
        return found if order == "oldest" else found[::-1]

    def series(self, device_id: str, field: str, from_ms: int, to_ms: int, bucket_ms: int, points: int) -> Series:
        """The chart with these buckets; the range is widened to the coarsest unit that fits in one of `points`."""
        unit_ms = max((unit.ms for unit in UNITS if unit.ms <= (to_ms - from_ms) / points), default=UNITS[0].ms)
        from_ms, to_ms = from_ms // unit_ms * unit_ms, -(-to_ms // unit_ms) * unit_ms
        origin = from_ms if points == 1 else 0
        buckets: dict[int, list[float]] = {}
        for _, device, message in self._rows:
            if device == device_id and from_ms <= message.received_ms < to_ms:
                bucket = (message.received_ms - origin) // bucket_ms * bucket_ms + origin
                for path, value in fields_of(message.payload):
                    if path == field and is_charted(value):
                        buckets.setdefault(bucket, []).append(float(value))  # type: ignore[arg-type]
        return Series(
            [
                SeriesPoint(at, min(numbers), max(numbers), sum(numbers) / len(numbers), len(numbers))
                for at, numbers in sorted(buckets.items())
            ],
            bucket_ms,
        )
