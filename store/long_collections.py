"""The collections of the long history in MongoDB: their names, indexes and ages. Made, and changed, when they are opened.

messages   one document a message, as `documents` says
rollups    one document a device, unit and span of time:
           {device: "d1", unit: "hour", start: ISODate("2026-01-31T00:00:00Z"),     the day (UTC) of 24 hours
            position: "1769860800000-000000000065536",                              _id of the last message applied
            stale: true,                                                            only until older messages are counted
            fields: {"speed": {"13": {min: 1.5, max: 4, sum: 11, count: 4}}}}       path (`documents.escape`) -> hour
           {…, unit: "day", start: ISODate("2026-01-01T00:00:00Z"), …}              the month, and days "1" to "31"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from store.mongo import MESSAGES, ROLLUPS

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

    from settings import Settings

    Document = dict[str, Any]

FOR_EVER_S = 50 * 365 * 86_400
"""Age of a TTL index that deletes nothing; there always is one, because MongoDB 4.0 cannot make one of a plain index.
Before 6.1 an age may not reach back beyond 1970."""

LONGEST_SPAN_S = 31 * 86_400


class Index(NamedTuple):
    """An index by its name, keys in ascending order, and how it is made."""

    name: str
    keys: tuple[str, ...]
    options: dict[str, Any]


def indexes(settings: Settings) -> dict[str, tuple[Index, ...]]:
    """Return the indexes of each collection, with the ages that the settings ask for."""
    age_s = settings.long_history_age_s or FOR_EVER_S
    # A document of rollups goes when its last entry is old enough, not its first.
    rollup_age_s = min((settings.long_rollup_age_s or FOR_EVER_S) + LONGEST_SPAN_S, FOR_EVER_S)
    return {
        MESSAGES: (
            Index("device_id", ("device", "_id"), {}),
            Index("ts_age", ("ts",), {"expireAfterSeconds": age_s}),
        ),
        ROLLUPS: (
            Index("device_unit_start", ("device", "unit", "start"), {"unique": True}),
            Index("start_age", ("start",), {"expireAfterSeconds": rollup_age_s}),
        ),
    }


async def open_collections(database: AsyncDatabase[Document], settings: Settings) -> None:
    """Create what is missing and set the ages. Raises PyMongoError."""
    for name, wanted in indexes(settings).items():
        existing = {index["name"]: index async for index in await database[name].list_indexes()}
        for index in wanted:
            if index.name not in existing:
                await _create(database[name], index)
            elif existing[index.name].get("expireAfterSeconds") != index.options.get("expireAfterSeconds"):
                await database.command("collMod", name, index={"name": index.name, **index.options})


async def _create(collection: AsyncCollection[Document], index: Index) -> None:
    await collection.create_index([(key, 1) for key in index.keys], name=index.name, **index.options)
