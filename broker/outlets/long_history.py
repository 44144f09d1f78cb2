"""The outlet to MongoDB: every message a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.documents import document_of
from store.long_history import LongHistory
from store.mongo import connect_mongo_async
from store.outlet_state import MONGODB, OutletSize

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from broker.outlets.outlet import LoggedMessage
    from settings import Settings
    from store.documents import Document


class LongHistoryOutlet:
    """Writes to the database of MONGO_URL."""

    name = MONGODB

    def __init__(self, settings: Settings) -> None:
        self.size = OutletSize()
        self._settings = settings
        self._database: AsyncDatabase[Document] | None = None

    async def open(self) -> None:
        """Connect."""
        self._database = connect_mongo_async(self._settings)
        self._history = LongHistory(self._database)

    async def write(self, messages: list[LoggedMessage]) -> None:
        """Write each message once, however often it comes."""
        await self._history.insert([document_of(*each) for each in messages])

    async def close(self) -> None:
        """Close the connections."""
        database, self._database = self._database, None
        if database is not None:
            await database.client.close()
