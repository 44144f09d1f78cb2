"""Write the long history in MongoDB (async): one document a message, as `documents` says.

Every write may be repeated as it is, and returns when it is durable on a majority of the servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import BulkWriteError

from store.mongo import MESSAGES

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

    from store.documents import Document

DUPLICATE_KEY = 11000


class LongHistory:
    """The long history in one database. Every method raises PyMongoError when MongoDB does not do it."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._messages = database[MESSAGES]

    async def insert(self, documents: list[Document]) -> None:
        """Insert the documents that are not there yet."""
        try:
            await self._messages.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if error.details["writeConcernErrors"] or any(
                each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]
            ):
                raise
