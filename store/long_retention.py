"""Measure the long history in MongoDB, and delete what it has too much of, oldest first, in bounded steps (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.mongo import MESSAGES, ROLLUPS
from store.outlet_state import OutletSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from store.documents import Document

STEP_DOCUMENTS = 1000
READ_MS = 10_000


class LongBounds:
    """What bounds the messages of one database. Every method raises PyMongoError when MongoDB does not do it."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._messages = database[MESSAGES]

    async def size(self) -> OutletSize:
        """Return number and bytes (uncompressed, without indexes) of the messages, and what all takes on the disk."""
        stats = [await self._database.command("collStats", name) for name in (MESSAGES, ROLLUPS)]
        stored_bytes = sum(int(each["storageSize"]) + int(each["totalIndexSize"]) for each in stats)
        return OutletSize(int(stats[0]["count"]), int(stats[0]["size"]), stored_bytes)

    async def delete_oldest(self, most: int) -> int:
        """Delete the oldest messages of all, `most` or STEP_DOCUMENTS of them; return how many."""
        return await self._delete_first({}, most)

    async def next_device(self, after: str) -> str | None:
        """Return the device that comes after another by name; None after the last."""
        found = await self._first({"device": {"$gt": after}}, [("device", 1)], projection={"_id": 0, "device": 1})
        return None if found is None else str(found["device"])

    async def newest_too_many(self, device_id: str, keep: int) -> str | None:
        """Return the `_id` of the newest message that a device has beyond its newest `keep`; None where it has not."""
        found = await self._first({"device": device_id}, [("device", -1), ("_id", -1)], skip=keep)
        return None if found is None else str(found["_id"])

    async def delete_of_device(self, device_id: str, last: str) -> int:
        """Delete the oldest messages of a device up to the `_id` `last`, STEP_DOCUMENTS at most; return how many."""
        return await self._delete_first({"device": device_id, "_id": {"$lte": last}}, STEP_DOCUMENTS)

    async def _delete_first(self, matching: Document, most: int) -> int:
        found = self._messages.find(matching, {"_id": 1}, sort=_sort(matching), max_time_ms=READ_MS)
        ids = [each["_id"] async for each in found.limit(min(most, STEP_DOCUMENTS))]
        if not ids:
            return 0
        return (await self._messages.delete_many({**matching, "_id": {"$lte": ids[-1]}})).deleted_count

    async def _first(
        self, matching: Document, sort: Sequence[tuple[str, int]], skip: int = 0, projection: Any = None
    ) -> Document | None:
        return await self._messages.find_one(
            matching, projection or {"_id": 1}, sort=sort, skip=skip, max_time_ms=READ_MS
        )


def _sort(matching: Document) -> list[tuple[str, int]]:
    # With the device it cannot be the index of `_id` alone, which would go through other devices' messages.
    return [("device", 1), ("_id", 1)] if "device" in matching else [("_id", 1)]
