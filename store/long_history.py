"""Write the long history in MongoDB (async). `long_collections` says what is in it.

Every write may be repeated as it is, and returns when it is durable on a majority of the servers (`mongo.DURABLE`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from store.mongo import MESSAGES, ROLLUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from store.documents import Document

    Write = TypeVar("Write")

DUPLICATE_KEY = 11000
COMMAND_WRITES = 500  # in one command, so that a slow server has done them long before a time-out

Aggregate = tuple[float, float, float, int]
"""Min, max, sum and count of a field's numbers in an hour or a day."""


class RollupKey(NamedTuple):
    """Which document of rollups: `unit` "hour" or "day", and the start (ms) of the day or month that it has them of."""

    device: str
    unit: str
    start_ms: int


class RollupState(NamedTuple):
    """What a document of rollups has: the `_id` of the last message applied, and fields. ("", {}): there is none."""

    position: str = ""
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RollupWrite:
    """What messages, from the one whose `_id` is `first` to `last`, add to a document of rollups.

    `fields`: escaped path -> hour or day in the document -> numbers. `state`: as the document was read; None where it
    was not: the write is then refused if it has not all these fields yet.
    """

    key: RollupKey
    first: str
    last: str
    fields: dict[str, dict[int, Aggregate]]
    state: RollupState | None


class LongHistory:
    """The long history in one database. Every method raises PyMongoError when MongoDB does not do it."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._messages = database[MESSAGES]
        self._rollups = database[ROLLUPS]

    async def insert(self, documents: Sequence[bytes]) -> None:
        """Insert the documents, in BSON, that are not there yet."""
        for some in _parts(documents):
            try:
                await self._messages.insert_many([RawBSONDocument(each) for each in some], ordered=False)
            except BulkWriteError as error:
                _duplicates(error)

    async def apply_rollups(self, writes: Sequence[RollupWrite]) -> dict[RollupKey, RollupState]:
        """Apply each write, of a document of its own, whole or not at all.

        Returns what the documents have whose writes were refused: leave out the messages that are applied there and the
        fields that it has no room for, and apply the rest.
        """
        refused: dict[RollupKey, RollupState] = {}
        for some in _parts(writes):
            try:
                await self._rollups.bulk_write([_update(write) for write in some], ordered=False)
            except BulkWriteError as error:
                refused |= await self._states([some[index].key for index in _duplicates(error)])
        return refused

    async def _states(self, keys: list[RollupKey]) -> dict[RollupKey, RollupState]:
        states = dict.fromkeys(keys, RollupState())
        devices: dict[tuple[str, int], list[str]] = {}
        for device, unit, start_ms in keys:
            devices.setdefault((unit, start_ms), []).append(device)
        for (unit, start_ms), some in devices.items():
            async for found in await self._rollups.aggregate(_states_pipeline(some, unit, start_ms)):
                key = RollupKey(found["device"], unit, start_ms)
                states[key] = RollupState(found["position"], frozenset(found["names"]))
        return states


def _parts(writes: Sequence[Write]) -> Iterable[Sequence[Write]]:
    return (writes[start : start + COMMAND_WRITES] for start in range(0, len(writes), COMMAND_WRITES))


def _update(write: RollupWrite) -> UpdateOne:
    """Return an upsert that meets the unique index, and so fails, where the document is not as the write expects it."""
    device, unit, start_ms = write.key
    expected: Document = {"device": device, "unit": unit, "start": DatetimeMS(start_ms)}
    if write.state is not None and write.state.position:
        expected["position"] = write.state.position
    else:
        expected["position"] = {"$lt": write.first}
        expected |= {f"fields.{name}": {"$exists": True} for name in write.fields}
    change: Document = {"$set": {"position": write.last}, "$min": {}, "$max": {}, "$inc": {}}
    for name, aggregates in write.fields.items():
        for number, (low, high, total, count) in aggregates.items():
            path = f"fields.{name}.{number}"
            change["$min"][f"{path}.min"] = low
            change["$max"][f"{path}.max"] = high
            change["$inc"] |= {f"{path}.sum": total, f"{path}.count": count}
    return UpdateOne(expected, {operator: of for operator, of in change.items() if of}, upsert=True)


def _states_pipeline(devices: list[str], unit: str, start_ms: int) -> list[dict[str, Any]]:
    names = {"$map": {"input": {"$objectToArray": "$fields"}, "as": "field", "in": "$$field.k"}}
    return [
        {"$match": {"device": {"$in": devices}, "unit": unit, "start": DatetimeMS(start_ms)}},
        {"$project": {"_id": 0, "device": 1, "position": 1, "names": names}},
    ]


def _duplicates(error: BulkWriteError) -> list[int]:
    """Return which writes met a unique index. Raises the error where anything else went wrong."""
    errors = error.details["writeErrors"]
    if error.details["writeConcernErrors"] or any(each["code"] != DUPLICATE_KEY for each in errors):
        raise error
    return [each["index"] for each in errors]
