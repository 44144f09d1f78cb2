"""The outlet to MongoDB: every message a document, its numbers in rollups of hours and days."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import bson

from broker.outlets.long_retention import LongRetention
from broker.outlets.rollups import rollup_groups
from broker.start import cancel
from store.documents import document_of
from store.long_collections import open_collections
from store.long_history import LongHistory
from store.mongo import connect_mongo_async
from store.outlet_state import MONGODB, OutletSize

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from broker.outlets.outlet import LoggedMessage
    from broker.outlets.rollups import RollupGroup
    from settings import Settings
    from store.documents import Document

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
MAX_DEVICE_BYTES = 900  # an index entry of MongoDB 4.0 holds 1024, with the `_id`
LAST_MS = 253_402_300_799_999  # of the year 9999
ROLLUP_TRIES = 8
CLOSE_S = 1.0

log = logging.getLogger(__name__)


class RefusedError(RuntimeError):
    """Somebody else keeps changing the rollups."""


class LongHistoryOutlet:
    """Writes to the database of MONGO_URL, and keeps what is in it within the settings' bounds while it is open.

    `left_out`: messages that could not become a document. Of these the broker's bounds let in only those of a device
    whose name takes more than MAX_DEVICE_BYTES.
    """

    name = MONGODB

    def __init__(self, settings: Settings) -> None:
        self.size = OutletSize()
        self.left_out = 0
        self._has_told_of_message = False
        self._settings = settings
        self._database: AsyncDatabase[Document] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, create collections and indexes, set the age of what is kept."""
        database = self._database = connect_mongo_async(self._settings)
        await open_collections(database, self._settings)
        self._history = LongHistory(database)
        retention = LongRetention(database, self._settings, self._set_size)
        await retention.measure()
        self._keeping = asyncio.create_task(retention.run())

    async def write(self, messages: list[LoggedMessage]) -> None:
        """Write each message once, however often it comes; documents before rollups."""
        if self._keeping is not None and self._keeping.done():
            self._keeping.result()  # raises what ended it
        documents, documented = self._documents(messages)
        if documents:
            await self._history.insert(documents)
            await self._apply_rollups(rollup_groups(documented))
        self.left_out += len(messages) - len(documents)

    async def close(self) -> None:
        """Close the connections."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await cancel(keeping)  # more than once, where the client has lost it
            await asyncio.gather(keeping, return_exceptions=True)  # an error of its own is of no use any more
        database, self._database = self._database, None
        if database is not None:
            try:
                await asyncio.wait_for(database.client.close(), CLOSE_S)
            except TimeoutError:  # MongoDB does not answer to a good-bye; there is none to say the second time
                await database.client.close()

    def _set_size(self, size: OutletSize) -> None:
        self.size = size

    def _documents(self, messages: list[LoggedMessage]) -> tuple[list[bytes], list[LoggedMessage]]:
        """Return documents in BSON, and the messages that they are of."""
        documents, documented = [], []
        for each in messages:
            try:
                documents.append(_bson(each))
                documented.append(each)
            except (ValueError, OverflowError, bson.errors.BSONError) as error:
                self._tell_of_message(each, error)
        return documents, documented

    def _tell_of_message(self, message: LoggedMessage, error: Exception) -> None:
        if not self._has_told_of_message:
            log.error("Message %s is left out of MongoDB (others are not logged): %s", message[0], error)
        self._has_told_of_message = True

    async def _apply_rollups(self, groups: list[RollupGroup]) -> None:
        """Apply every group. Some may be applied already, by whoever was here before: leave those messages out."""
        for _ in range(ROLLUP_TRIES):
            if not groups:
                return
            refused = await self._history.apply_rollups([group.write() for group in groups])
            rests = [group.after(refused[group.key]) for group in groups if group.key in refused]
            groups = [rest for rest in rests if rest is not None]
        if groups:
            raise RefusedError(f"rollups of {groups[0].key.device} are changed by somebody else")


def _bson(message: LoggedMessage) -> bytes:
    """Return the document of a message. Raises ValueError, OverflowError or BSONError where MongoDB could not take it."""
    if len(message[1].encode()) > MAX_DEVICE_BYTES:
        raise ValueError("its device's name is too long")
    if not 0 <= message[2].received_ms <= LAST_MS:
        raise ValueError(f"its time is {message[2].received_ms} ms")
    document = bson.encode(document_of(*message))
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"its document would have {len(document)} bytes")
    return document
