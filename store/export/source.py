"""Read messages out of both stores, in the order of an export (sync reads): by device, then by id.

Redis holds the newest messages of a device, MongoDB (where there is one) the older. At most CHUNK_STEP chunks of a history
or one page of documents are in memory. What is cut off a history while it is read comes from MongoDB.
"""

from __future__ import annotations

import heapq
from itertools import groupby
from typing import TYPE_CHECKING, Any

from store import schema
from store.chunks import CHUNK_STEP, read_chunk
from store.model import MessageId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis import Redis

    from store.chunks import Entry, Placed
    from store.export.long_source import LongSource
    from store.export.ndjson import Found
    from store.export.selection import Selection

NAME_STEP = 500


class Source:
    """Both stores as one. Methods raise redis.RedisError or LongHistoryUnavailable: what came before is not all then."""

    def __init__(self, client: Redis, long_source: LongSource | None) -> None:
        self._redis = client
        self._long_source = long_source

    def select(self, selection: Selection) -> Iterator[list[Found]]:
        """Yield the messages of a selection, some of one device at a time; none where it has gone through others for a while."""
        for device_id in self.devices(selection):
            after, until = selection.ids(device_id)
            for some in self.messages(device_id, after, until):
                yield [(device_id, message_id, each) for message_id, each in some if selection.wants(each)]

    def devices(self, selection: Selection) -> Iterator[str]:
        """Yield the devices of a selection in order, whether they have messages in its range or not."""
        if selection.devices:
            names: Iterable[bytes] = sorted(name.encode() for name in selection.devices)
        else:
            first = selection.search.encode()
            if selection.after is not None:
                first = max(first, selection.after.device_id.encode())
            names = self._names(first)
        for name in names:
            device_id = name.decode()
            if selection.has_device(device_id):
                yield device_id
            elif not selection.devices and not device_id.startswith(selection.search):
                return

    def messages(self, device_id: str, after: MessageId, until: MessageId) -> Iterator[list[Placed]]:
        """Yield a device's messages between two ids, both left out."""
        position, newest = after, b""
        for entries in history_entries(self._redis, device_id, after):
            if self._long_source is not None and entries[0][0] != newest:  # older are there, or were cut off meanwhile
                first = MessageId.parse(entries[0][0].decode())
                for page in self._long_source.messages(device_id, position, min(first, until)):
                    yield page
                    position = page[-1][0]
            newest = entries[-1][0]
            some = [each for entry in entries for each in read_chunk(entry) if position < each[0] < until]
            if some:
                yield some
                position = some[-1][0]
            if MessageId.parse(newest.decode()) >= until:
                return
        if self._long_source is not None and not newest:
            yield from self._long_source.messages(device_id, position, until)

    def _names(self, first: bytes) -> Iterator[bytes]:
        """Yield the names of all devices from one on, each once."""
        in_mongodb = () if self._long_source is None else self._long_source.names(first)
        names = heapq.merge(self._names_in_redis(first), in_mongodb)
        return (name for name, _ in groupby(names))

    def _names_in_redis(self, first: bytes) -> Iterator[bytes]:
        start = b"[" + first if first else b"-"
        while True:
            names: Any = self._redis.zrangebylex(schema.DEVICES_NAMES, start, b"+", 0, NAME_STEP)
            yield from names
            if len(names) < NAME_STEP:
                return
            start = b"(" + names[-1]


def history_entries(client: Redis, device_id: str, after: MessageId) -> Iterator[list[Entry]]:
    """Yield the chunks of a history that hold what comes after an id, some at a time.

    Each time begins with the last chunk of the time before; with another one where that was cut off meanwhile.
    """
    key = schema.device(device_id, "history")
    before: Any = client.xrevrange(key, str(after), "-", 1)
    start = before[0][0] if before else b"-"
    while True:
        entries: Any = client.xrange(key, start, "+", CHUNK_STEP)
        if entries:
            yield entries
        if len(entries) < CHUNK_STEP:
            return
        start = entries[-1][0]
