"""The half of a source that is in MongoDB: devices and their messages in the order of an export (sync reads)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import PyMongoError

from store.answers import LongHistoryUnavailable
from store.documents import document_id, read_document
from store.mongo import MESSAGES, connect_mongo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings import Settings
    from store.chunks import Placed
    from store.model import MessageId

PAGE_DOCUMENTS = 1000
BY_DEVICE = [("device", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)]


class LongSource:
    """Reads the database of MONGO_URL. Methods raise LongHistoryUnavailable where it does not answer."""

    def __init__(self, settings: Settings) -> None:
        database = connect_mongo(settings)
        self._client = database.client
        self._messages = database[MESSAGES]

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def names(self, first: bytes) -> Iterator[bytes]:
        """Yield the names of devices from one on, in order: one step along the index for each."""
        operator, last = "$gte", first.decode()
        while found := self._first(operator, last):
            operator, last = "$gt", found["device"]
            yield last.encode()

    def messages(self, device_id: str, after: MessageId, until: MessageId) -> Iterator[list[Placed]]:
        """Yield a device's messages between two ids, both left out, a page at a time."""
        while after < until:
            page = self._page(device_id, after, until)
            if page:
                yield page
                after = page[-1][0]
            if len(page) < PAGE_DOCUMENTS:
                return

    def _first(self, operator: str, name: str) -> dict[str, Any] | None:
        wanted, fields = {"device": {operator: name}}, {"device": True, "_id": False}
        with _asking():
            return self._messages.find_one(wanted, fields, sort=BY_DEVICE)

    def _page(self, device_id: str, after: MessageId, until: MessageId) -> list[Placed]:
        ids = {"$gt": document_id(after), "$lt": document_id(until)}
        with _asking():
            found = self._messages.find({"device": device_id, "_id": ids}, sort=BY_DEVICE, limit=PAGE_DOCUMENTS)
            return [(message_id, message) for message_id, _, message in map(read_document, found)]


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise LongHistoryUnavailable(str(error)) from error
