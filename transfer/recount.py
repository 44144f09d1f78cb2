"""Count documents of rollups in MongoDB anew, from the messages they are of (async).

Only messages up to the document's position count: the outlet may have written newer ones whose rollups are still to come.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS

from broker.outlets.rollups import rollup_groups
from store.documents import document_id, read_document
from store.long_history import RollupKey
from store.model import MessageId
from store.mongo import MESSAGES, ROLLUPS
from store.scan import LATE_MS
from store.schema import DAY_MS, MAX_FIELDS
from transfer.older_messages import ChangingError

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from store.documents import Document
    from store.long_history import Aggregate

    Counted = dict[str, dict[int, Aggregate]]
    """Escaped path -> hour or day -> numbers."""
    Fields = dict[str, dict[str, dict[str, float]]]
    """Escaped path -> hour or day in the document -> min, max, sum, count."""

PAGE_DOCUMENTS = 1000
TRIES = 8


async def recount(database: AsyncDatabase[Document], key: RollupKey) -> None:
    """Count a document anew. An entry of which more was counted than there are messages now stays: some were deleted.

    Raises ChangingError, PyMongoError.
    """
    for _ in range(TRIES):
        document = await database[ROLLUPS].find_one(selector(key))
        if document is None:
            return
        fields = with_larger(document["fields"], await counted(database, key, document["position"]))
        done = await database[ROLLUPS].update_one(
            {**selector(key), "position": document["position"]}, {"$set": {"fields": fields}, "$unset": {"stale": ""}}
        )
        if done.matched_count:
            return
    raise ChangingError(f"The rollups of {key.device} keep changing. Run it again.")


async def counted(database: AsyncDatabase[Document], key: RollupKey, until: str) -> Fields:
    """Return what a document's fields are, by the messages up to the `_id` `until`."""
    fields: Counted = {}
    end_ms = span_end_ms(key)
    after = document_id(MessageId(max(0, key.start_ms - LATE_MS), 0))
    last = min(until, document_id(MessageId(end_ms + LATE_MS, 0)))
    ts = {"$gte": DatetimeMS(key.start_ms), "$lt": DatetimeMS(end_ms)}
    while True:
        wanted = {"device": key.device, "_id": {"$gt": after, "$lte": last}, "ts": ts}
        page = await database[MESSAGES].find(wanted, sort=[("_id", 1)], limit=PAGE_DOCUMENTS).to_list()
        for group in rollup_groups([read_document(each) for each in page]):
            if group.key == key:
                merge(fields, group.write().fields)
        if len(page) < PAGE_DOCUMENTS:
            return shape(fields)
        after = page[-1]["_id"]


def keys_of(device_id: str, received_ms: int) -> tuple[RollupKey, RollupKey]:
    """Return the documents that the numbers of a message go into."""
    day_ms = received_ms // DAY_MS * DAY_MS
    month_ms = day_ms - (datetime.fromtimestamp(day_ms / 1000, UTC).day - 1) * DAY_MS
    return RollupKey(device_id, "hour", day_ms), RollupKey(device_id, "day", month_ms)


def selector(key: RollupKey) -> Document:
    """Return what finds a document of rollups."""
    return {"device": key.device, "unit": key.unit, "start": DatetimeMS(key.start_ms)}


def span_end_ms(key: RollupKey) -> int:
    """Return where the day or month of a document ends."""
    if key.unit == "hour":
        return key.start_ms + DAY_MS
    date = datetime.fromtimestamp(key.start_ms / 1000, UTC)
    year, month = divmod(date.year * 12 + date.month, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000


def with_larger(stored: Fields, found: Fields) -> Fields:
    """Return every entry of both; of an entry that both have, the one that counts more."""
    merged: dict[str, Any] = {name: dict(entries) for name, entries in stored.items()}
    for name, entries in found.items():
        mine = merged.setdefault(name, {})
        for number, entry in entries.items():
            if number not in mine or mine[number]["count"] <= entry["count"]:
                mine[number] = entry
    return merged


def merge(fields: Counted, more: Counted) -> None:
    """Add what was counted later to `fields`, as far as a document has room for it."""
    for name, entries in more.items():
        if name not in fields and len(fields) >= MAX_FIELDS:
            continue
        mine = fields.setdefault(name, {})
        for number, (low, high, total, count) in entries.items():
            before = mine.get(number, (low, high, 0.0, 0))
            mine[number] = (min(low, before[0]), max(high, before[1]), total + before[2], count + before[3])


def shape(fields: Counted) -> Fields:
    """Return what was counted as a document has it."""
    return {
        name: {
            str(number): {"min": low, "max": high, "sum": total, "count": count}
            for number, (low, high, total, count) in entries.items()
        }
        for name, entries in fields.items()
    }
