"""Write imported messages to MongoDB as the outlet does (async).

Its rollups only take messages that are newer than all they have. Documents of rollups that are to have older ones are counted
anew from the messages: marked `stale` before these come in, so that an import that is killed meanwhile does it next time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS

from broker.outlets.long_history import LongHistoryOutlet, RefusedError
from store.documents import document_id
from store.long_history import RollupKey
from store.mongo import MESSAGES, ROLLUPS, connect_mongo_async
from transfer.older_messages import ChangingError
from transfer.recount import keys_of, recount, selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.asynchronous.database import AsyncDatabase

    from broker.outlets.outlet import LoggedMessage
    from settings import Settings
    from store.export.ndjson import Found


class LongImport:
    """Imports into the database of MONGO_URL. Calls raise PyMongoError when it does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._outlet = LongHistoryOutlet(settings)
        self.database: AsyncDatabase[dict[str, Any]] = connect_mongo_async(settings)

    async def open(self) -> None:
        """Connect, and create what is missing."""
        await self._outlet.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._outlet.close()
        await self.database.client.close()

    async def write(self, messages: Sequence[Found]) -> None:
        """Write messages, each once however often it comes. Raises ChangingError."""
        logged = sorted((message_id, device_id, message) for device_id, message_id, message in messages)
        stale = await self._mark_stale(logged)
        try:
            await self._outlet.write(logged)
        except RefusedError as error:
            raise ChangingError(f"{error}. Run it again.") from None
        for key in stale:
            await recount(self.database, key)

    async def _mark_stale(self, messages: list[LoggedMessage]) -> list[RollupKey]:
        """Mark the documents of rollups that are to have older messages; return them, and those that were marked before."""
        ids: dict[RollupKey, list[str]] = {}
        for message_id, device_id, message in messages:
            for key in keys_of(device_id, message.received_ms):
                ids.setdefault(key, []).append(document_id(message_id))
        stale: list[RollupKey] = []
        for key, found in await self._rollups_of(list(ids)):
            older = [each for each in ids[key] if each <= found["position"]]
            if found.get("stale") or (older and await self._lacks(older)):
                await self.database[ROLLUPS].update_one(selector(key), {"$set": {"stale": True}})
                stale.append(key)
        return stale

    async def _lacks(self, ids: list[str]) -> bool:
        """Whether some of these messages are not there."""
        return await self.database[MESSAGES].count_documents({"_id": {"$in": ids}}) < len(ids)

    async def _rollups_of(self, keys: list[RollupKey]) -> list[tuple[RollupKey, dict[str, Any]]]:
        """Return the documents that there are, without their fields."""
        spans: dict[tuple[str, str], list[DatetimeMS]] = {}
        for device_id, unit, start_ms in keys:
            spans.setdefault((device_id, unit), []).append(DatetimeMS(start_ms))
        documents: list[tuple[RollupKey, dict[str, Any]]] = []
        for (device_id, unit), starts in spans.items():
            wanted = {"device": device_id, "unit": unit, "start": {"$in": starts}}
            found = await self.database[ROLLUPS].find(wanted, {"start": 1, "position": 1, "stale": 1}).to_list()
            documents += [(RollupKey(device_id, unit, int(each["start"])), each) for each in found]
        return documents
