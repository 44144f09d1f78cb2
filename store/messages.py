"""Pages of a device's messages, from Redis and from the long history as if they were one store (sync reads).

    long history   ·····················|              up to where MongoDB was written
    Redis                        |·············        from the oldest kept message on

What Redis holds comes from Redis; what is older, and only that, from the long history. Redis may lose its old end between two
pages or while one is read: no place in the two is remembered, each page begins at the id that the one before it reached.
Where MongoDB is so far behind that Redis has dropped what it has not got yet, a page that comes to that place is partial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import history, schema
from store.answers import LongHistoryUnavailable, Page
from store.model import MessageId
from store.outlet_state import MONGODB
from store.scan import LAST_ID, Range, Slice

if TYPE_CHECKING:
    from redis import Redis

    from store.answers import StoredMessage
    from store.long_history_query import LongHistoryQuery
    from store.scan import MessageFilter


class MessageReader:
    """Reads messages from Redis and, where there is one, the long history."""

    def __init__(self, client: Redis, long_history: LongHistoryQuery | None) -> None:
        self._redis = client
        self._long = long_history

    def newest_first(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Page[StoredMessage]:
        """Return a page of a range; `next` is where the next one ends."""
        found = history.older(self._redis, device_id, ids, wanted, limit)
        if found.has_more:
            return Page(found.rows, str(found.reached))
        if self._long is None or self._whole_after(device_id, ids.low) == ids.low:
            return Page(found.rows, None)
        is_behind = self._is_behind(device_id, found.reached)
        try:
            rest = self._long.older(device_id, Range(ids.low, found.reached), wanted, limit - len(found.rows))
        except LongHistoryUnavailable:
            again = None if found.reached == LAST_ID else str(found.reached)
            return Page(found.rows, again, is_partial=True)
        return Page(found.rows + rest.rows, str(rest.reached) if rest.has_more else None, is_behind)

    def oldest_first(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Page[StoredMessage]:
        """Return a page of a range; `next` is where the next one begins."""
        begins = ids.low if self._long is None else self._whole_after(device_id, ids.low)
        gone = Range(ids.low, min(begins, ids.high))
        is_behind = gone.high > gone.low and self._is_behind(device_id, gone.high)
        try:
            old = self._gone(device_id, gone, wanted, limit)
        except LongHistoryUnavailable:
            return Page([], str(ids.low), is_partial=True)
        if old.has_more or is_behind:
            return Page(old.rows, str(old.reached), is_behind)
        found = history.newer(self._redis, device_id, Range(old.reached, ids.high), wanted, limit - len(old.rows))
        if self._long is not None and self._whole_after(device_id, begins) > begins:
            return Page(old.rows, str(old.reached))  # what began there went meanwhile: the next page finds it
        return Page(old.rows + found.rows, str(found.reached) if found.has_more else None)

    def _gone(self, device_id: str, ids: Range, wanted: MessageFilter, limit: int) -> Slice:
        """Return messages that Redis has not any more, oldest first."""
        if self._long is None or ids.low == ids.high:
            return Slice([], ids.low, has_more=False)
        return self._long.newer(device_id, ids, wanted, limit)

    def message(self, device_id: str, message_id: MessageId) -> StoredMessage | None:
        """Return one message whole; None if neither store has it. Raises LongHistoryUnavailable."""
        found = history.message(self._redis, device_id, message_id)
        return found if found or self._long is None else self._long.message(device_id, message_id)

    def _is_behind(self, device_id: str, end: MessageId) -> bool:
        """Return whether messages from before `end` may be on their way to the long history that Redis has dropped already."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hget(schema.outlet(MONGODB), "position")
        pipeline.hmget(schema.device(device_id, "record"), ["messages", "history_count"])
        position, (messages, kept) = pipeline.execute()
        is_cut = int(messages or 0) > int(kept or 0)
        return is_cut and position is not None and MessageId.parse(position.decode()) < end

    def _whole_after(self, device_id: str, message_id: MessageId) -> MessageId:
        return history.whole_after(self._redis, device_id, message_id)
