"""Chunks of a device's history in Redis, as they are read: a stream entry holds up to 128 messages, under the id of the first.

Fields: `i` the ids (msgpack), `f` the messages (a frame of `store.model`), `n` how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from store.model import Message, MessageId, decode_frame

if TYPE_CHECKING:
    Placed = tuple[MessageId, Message]
    Entry = tuple[bytes, dict[bytes, bytes]]

CHUNK_STEP = 16  # chunks that are read at once
_unpack_ids = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


def read_chunk(entry: Entry) -> list[Placed]:
    """Return the messages of one entry of a history. Raises ValueError for one that cannot be read."""
    _, fields = entry
    ids = [MessageId(ms, seq) for ms, seq in _unpack_ids(fields[b"i"])]
    return list(zip(ids, decode_frame(fields[b"f"]), strict=True))
