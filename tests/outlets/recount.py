"""What MongoDB should hold of some messages, counted anew, and whether it does."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from store.documents import document_of, escape
from store.json_fields import fields_of, is_charted
from store.mongo import MESSAGES, ROLLUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymongo.database import Database

    from broker.outlets.outlet import LoggedMessage
    from store.documents import Document

    Slot = tuple[str, str, int, str, str]
    """Device, unit, start of the document (ms), field, hour or day in it."""


def slots_of(message: LoggedMessage) -> Iterable[tuple[Slot, float]]:
    _, device, logged = message
    time = datetime.fromtimestamp(logged.received_ms / 1000, UTC)
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    for path, value in fields_of(logged.payload):
        if is_charted(value):
            yield (device, "hour", _ms(day), escape(path), str(time.hour)), float(value)
            yield (device, "day", _ms(day.replace(day=1)), escape(path), str(time.day)), float(value)


def rollups_in(database: Database[Document]) -> dict[Slot, Document]:
    return {
        (found["device"], found["unit"], int(found["start"]), field, number): aggregate
        for found in database[ROLLUPS].find()
        for field, aggregates in found["fields"].items()
        for number, aggregate in aggregates.items()
    }


def assert_holds_exactly(database: Database[Document], messages: list[LoggedMessage]) -> None:
    expected = [document_of(*each) for each in sorted(messages)]
    assert list(database[MESSAGES].find().sort("_id", 1)) == expected
    numbers: dict[Slot, list[float]] = defaultdict(list)
    for message in messages:
        for slot, value in slots_of(message):
            numbers[slot].append(value)
    rollups = rollups_in(database)
    assert rollups.keys() == numbers.keys()
    for slot, values in numbers.items():
        found = rollups[slot]
        assert (found["min"], found["max"], found["count"]) == (min(values), max(values), len(values)), slot
        assert math.isclose(found["sum"], math.fsum(values), rel_tol=1e-9, abs_tol=1e-9), slot


def _ms(time: datetime) -> int:
    return int(time.timestamp()) * 1000
