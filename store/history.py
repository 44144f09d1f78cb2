"""A device's recent messages in Redis (sync reads).

They are kept in chunks (`chunks`), which go from the old end at any moment, also while a page is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.chunks import CHUNK_STEP, read_chunk
from store.model import MessageId
from store.scan import LAST_ID, collect, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from store.answers import StoredMessage
    from store.chunks import Placed
    from store.scan import MessageFilter, Range, Slice


def older(client: Redis, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Slice:
    """Return messages of a range, newest first."""
    return collect(_descending(client, device_id, ids), device_id, wanted, limit, ids.high)


def newer(client: Redis, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Slice:
    """Return messages of a range, oldest first."""
    return collect(_ascending(client, device_id, ids), device_id, wanted, limit, ids.low)


def whole_after(client: Redis, device_id: str, message_id: MessageId) -> MessageId:
    """Return from where on everything is here that came after a message: that message itself, or what is kept first behind it.

    LAST_ID if there is nothing behind it.
    """
    key = schema.device(device_id, "history")
    pipeline = client.pipeline(transaction=False)
    pipeline.xrange(key, f"({message_id}", "+", 1)
    pipeline.xrevrange(key, str(message_id), "-", 1)  # last: while this chunk is there, none behind it is gone
    behind, own = pipeline.execute()
    if own:
        return message_id
    return MessageId.parse(behind[0][0].decode()) if behind else LAST_ID


def message(client: Redis, device_id: str, message_id: MessageId) -> StoredMessage | None:
    """Return one message whole; None if it is not kept any more."""
    entries: Any = client.xrevrange(schema.device(device_id, "history"), str(message_id), "-", 1)
    for entry in entries:
        for each, found in read_chunk(entry):
            if each == message_id:
                return stored(each, device_id, found)
    return None


def _descending(client: Redis, device_id: str, ids: Range) -> Iterator[Placed]:
    key, end = schema.device(device_id, "history"), f"({ids.high}"
    while True:
        entries: Any = client.xrevrange(key, end, "-", CHUNK_STEP)
        for entry in entries:
            for each in reversed(read_chunk(entry)):
                if each[0] <= ids.low:
                    return
                if each[0] < ids.high:
                    yield each
        if len(entries) < CHUNK_STEP:
            return
        end = "(" + entries[-1][0].decode()


def _ascending(client: Redis, device_id: str, ids: Range) -> Iterator[Placed]:
    key = schema.device(device_id, "history")
    own: Any = client.xrevrange(key, str(ids.low), "-", 1)  # `low` may stand within it
    start = own[0][0].decode() if own else f"({ids.low}"
    while True:
        entries: Any = client.xrange(key, start, "+", CHUNK_STEP)
        for entry in entries:
            for each in read_chunk(entry):
                if each[0] >= ids.high:
                    return
                if each[0] > ids.low:
                    yield each
        if len(entries) < CHUNK_STEP:
            return
        start = "(" + entries[-1][0].decode()
