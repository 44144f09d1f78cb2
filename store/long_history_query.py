"""The long history in MongoDB: messages of a device and rollups of its fields (sync reads; `documents` tells their shape).

Every question is bounded in documents and in time, and raises LongHistoryUnavailable where MongoDB does not answer it. After
it could not be reached nobody asks it for RETRY_S: pages that do without it do not wait. Commands of MongoDB 4.0 only.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import pymongo
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from pymongo.errors import ConnectionFailure, PyMongoError

from store.answers import LongHistoryUnavailable
from store.documents import document_id, escape, field_names, message_id_of, read_document
from store.json_fields import is_charted
from store.mongo import MESSAGES, ROLLUPS
from store.rollups import merge_into
from store.scan import MAX_EXAMINED, MessageFilter, Slice, collect, stored
from store.schema import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from store.answers import StoredMessage
    from store.model import MessageId
    from store.rollups import Aggregates
    from store.scan import Range
    from store.schema import Unit

    Document = dict[str, Any]

QUERY_TIMEOUT_S = 3.0
RETRY_S = 5.0
MAX_ROLLUPS = 3000  # documents of one chart: days of 250 years, or hours of eight
MAX_MINUTES = DAY.ms // MINUTE.ms + 1
MAX_COUNTED = 100_000
BATCH = 500

log = logging.getLogger(__name__)


class LongHistoryQuery:
    """Asks one database. For any number of threads."""

    def __init__(self, database: Database[Document]) -> None:
        self._client = database.client
        self._messages = database[MESSAGES]
        self._rollups = database[ROLLUPS]
        self._ask_again_s = 0.0

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def older(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Slice:
        """Return messages of a range, newest first."""
        return self._slice(device_id, ids, wanted, limit, pymongo.DESCENDING)

    def newer(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Slice:
        """Return messages of a range, oldest first."""
        return self._slice(device_id, ids, wanted, limit, pymongo.ASCENDING)

    def message(self, device_id: str, message_id: MessageId) -> StoredMessage | None:
        """Return one message whole; None if it is not kept."""
        with self._asking():
            document = self._messages.find_one({"_id": document_id(message_id), "device": device_id})
        return _stored(document) if document else None

    def first_and_last(self, device_id: str) -> tuple[StoredMessage, StoredMessage, int] | None:
        """Return a device's oldest and newest message, and how many there are (MAX_COUNTED at most); None if there is none."""
        of_device = {"device": device_id}
        with self._asking():
            first, last = (self._messages.find_one(of_device, sort=[("_id", each)]) for each in (1, -1))
            if first is None or last is None:
                return None
            return _stored(first), _stored(last), self._messages.count_documents(of_device, limit=MAX_COUNTED)

    def rollups(self, device_id: str, unit: Unit, field: str, first: int, last: int) -> Aggregates | None:
        """Return a field's aggregates of the units from `first` to `last` (since the epoch).

        Minutes are computed from messages: None where these, or the minutes, are too many.
        """
        with self._asking():
            if unit is MINUTE:
                return self._minutes(device_id, field, first, last)
            return self._kept_rollups(device_id, unit, field, first, last)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        if time.monotonic() < self._ask_again_s:
            raise LongHistoryUnavailable
        try:
            with pymongo.timeout(QUERY_TIMEOUT_S):
                yield
        except PyMongoError as error:
            log.warning("The long history does not answer: %s", type(error).__name__)
            if isinstance(error, ConnectionFailure):
                self._ask_again_s = time.monotonic() + RETRY_S
            raise LongHistoryUnavailable from error

    def _slice(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int, direction: int) -> Slice:
        start = ids.high if direction == pymongo.DESCENDING else ids.low
        selection = _selection(device_id, ids)
        with self._asking():
            if wanted.is_open:
                return self._collect(selection, direction, device_id, wanted, limit, start)
            edge = self._edge(selection, direction)
            if edge is not None:
                selection["_id"]["$gte" if direction == pymongo.DESCENDING else "$lte"] = edge
            found = self._collect({**selection, **_narrowed(wanted)}, direction, device_id, wanted, limit, start)
        if found.has_more or edge is None:
            return found
        return Slice(found.rows, message_id_of(edge), has_more=True)

    def _collect(
        self, selection: Document, direction: int, device_id: str, wanted: MessageFilter, limit: int, start: MessageId
    ) -> Slice:
        most = limit + 1 if wanted.is_open else 0
        with self._messages.find(selection, sort=[("_id", direction)], limit=most, batch_size=BATCH) as found:
            read = ((each[0], each[2]) for each in map(read_document, found))
            return collect(read, device_id, wanted, limit, start)

    def _edge(self, selection: Document, direction: int) -> str | None:
        """Return the `_id` of the last document that may be looked at; None if there are not that many. Reads an index only."""
        found = self._messages.find(selection, {"_id": 1}, sort=[("_id", direction)], skip=MAX_EXAMINED - 1, limit=1)
        return next((document["_id"] for document in found), None)

    def _kept_rollups(self, device_id: str, unit: Unit, field: str, first: int, last: int) -> Aggregates:
        name = escape(field)
        span = {"$gte": DatetimeMS(_span_start_ms(unit, first)), "$lte": DatetimeMS(last * unit.ms)}
        found = self._rollups.find(
            {"device": device_id, "unit": "hour" if unit is HOUR else "day", "start": span},
            {"start": 1, f"fields.{name}": 1},
            sort=[("start", pymongo.DESCENDING)],
            limit=MAX_ROLLUPS,
        )
        aggregates: Aggregates = {}
        for document in found:
            begin = int(document["start"]) // unit.ms - (0 if unit is HOUR else 1)  # days of a month count from 1
            for entry, each in document.get("fields", {}).get(name, {}).items():
                if first <= begin + int(entry) <= last:
                    figures = [float(each[name]) for name in ("min", "max", "sum")]
                    aggregates[begin + int(entry)] = (figures[0], figures[1], figures[2], int(each["count"]))
        return aggregates

    def _minutes(self, device_id: str, field: str, first: int, last: int) -> Aggregates | None:
        if last - first >= MAX_MINUTES:
            return None
        wanted = MessageFilter(field=field, from_ms=first * MINUTE.ms, to_ms=(last + 1) * MINUTE.ms)
        selection = _selection(device_id, wanted.range(None, None))
        if self._edge(selection, pymongo.DESCENDING) is not None:
            return None
        names = field_names(field)
        aggregates: Aggregates = {}
        narrowed = {**selection, **_narrowed(wanted)}
        for document in self._messages.find(narrowed, {"ts": 1, **dict.fromkeys(names, 1)}, limit=MAX_EXAMINED):
            values = [_value(document, name) for name in names]
            number = next((float(value) for value in values if is_charted(value)), None)
            if number is not None:
                merge_into(aggregates, int(document["ts"]) // MINUTE.ms, (number, number, number, 1))
        return aggregates


def _selection(device_id: str, ids: Range) -> Document:
    return {"device": device_id, "_id": {"$gt": document_id(ids.low), "$lt": document_id(ids.high)}}


def _narrowed(wanted: MessageFilter) -> Document:
    """Return what MongoDB can leave out before `wanted` judges."""
    narrowed: Document = {}
    times = [(name, ms) for name, ms in (("$gte", wanted.from_ms), ("$lt", wanted.to_ms)) if ms is not None]
    if times:
        narrowed["ts"] = {name: DatetimeMS(ms) for name, ms in times}
    if wanted.topic is not None:
        narrowed["topic"] = _topics(wanted.topic)
    if wanted.field is not None:
        narrowed["$or"] = [{name: {"$exists": True}} for name in field_names(wanted.field)]
    return narrowed


def _topics(topic_filter: str) -> str | Document:
    """Return the topic, or the range of topics that begin as a filter does."""
    levels = topic_filter.split("/")
    literal = next((at for at, level in enumerate(levels) if level in ("+", "#")), None)
    if literal is None:
        return topic_filter
    prefix = "/".join(levels[:literal])  # without its `/`: a/# has a as well
    return {"$gte": prefix, "$lt": prefix + "\U0010ffff"}


def _value(document: Document, name: str) -> Any:
    """Return the scalar at a dotted name; None where there is none."""
    found: Any = document
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return int(found) if isinstance(found, Int64) else found


def _span_start_ms(unit: Unit, number: int) -> int:
    """Return where the document begins that holds a unit: hours stand by day, days by month (31 days at most)."""
    return number * unit.ms - (24 if unit is HOUR else 31) * unit.ms


def _stored(document: Document) -> StoredMessage:
    message_id, device_id, message = read_document(document)
    return stored(message_id, device_id, message)
