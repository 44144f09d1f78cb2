"""The write that an acknowledgement waits for, as bytes for `link.StoreLink`, and what its replies mean. No I/O.

One commit is one script call (`scripts/commit.lua`), and `WAITAOF` behind it where an acknowledgement promises the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from store import schema
from store.link import Replies, pack
from store.model import Message, encode_frame
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMIT = load_script("commit")
MARKER_TTL_S = 86_400
WAITAOF_TIMEOUT_MS = 4_000

_encode = msgspec.msgpack.Encoder().encode


class CommitRefusedError(Exception):
    """The store answered that it did not store the batch; the message is the store's own."""


class Enqueue(NamedTuple):
    """Put an entry (`session_store.encode_entry`) at the end of a session's queue, where it waits since `since_ms`."""

    client_id: str
    entry: bytes
    since_ms: int


class Dequeue(NamedTuple):
    """Take an entry out of a session's queue, where it still is; `is_dropped`: count it among those nobody was sent."""

    client_id: str
    sequence_number: int
    entry_bytes: int
    is_dropped: bool


class Operation(NamedTuple):
    """A plain write to a session's keys: the command, its key and the rest of its arguments, text and numbers only."""

    command: str
    key: str
    arguments: tuple[str | int, ...] = ()


class Rename(NamedTuple):
    """Give a key, where it exists, another name and a time to live in seconds."""

    key: str
    new_key: str
    ttl_s: int


Change = Enqueue | Dequeue | Operation | Rename
"""What a commit can do to sessions."""


class Committed(NamedTuple):
    """What a commit did. `sequence_numbers`: one for each Enqueue in order; 0: queue full, -1: session gone; None: unknown.

    `dropped`: entries of queues that nobody was sent, because they were too old.
    """

    refused_retained: int
    sequence_numbers: list[int] | None
    dropped: int


class CommitLog:
    """Writes the commits of one node incarnation; `ACK_AFTER=disk` is `is_fsynced`."""

    def __init__(
        self,
        node_id: str,
        *,
        is_fsynced: bool,
        max_retained: int,
        queue_messages: int,
        queue_bytes: int,
        queue_age_s: int,
    ) -> None:
        self._keys = (schema.LOG, schema.committed(node_id), schema.RETAINED, schema.RETAINED_INDEX)
        self._is_fsynced = is_fsynced
        self._limits = (max_retained, queue_messages, queue_bytes, queue_age_s * 1000)
        self.reply_count = 2 if is_fsynced else 1

    def request(
        self,
        number: int,
        messages: list[Message],
        retained: Iterable[tuple[str, Message | None]],
        operations: list[Change],
    ) -> bytes:
        """Return the packed commands that commit `messages` and `operations` as commit `number`.

        `retained`: topic names whose retained message this batch changes, None where it is cleared.
        """
        pairs: list[str | bytes] = []
        for topic_name, message in retained:
            pairs += (topic_name, encode_frame([message]) if message is not None else b"")
        keys, blob, entries = _compile(operations, len(self._keys)) if operations else ([], b"", [])
        frame = encode_frame(messages) if messages else b""
        arguments = (number, MARKER_TTL_S, frame, *self._limits, blob, len(pairs) // 2, *pairs, *entries)
        commit = pack(("EVALSHA", COMMIT.sha, len(self._keys) + len(keys), *self._keys, *keys, *arguments))
        return commit + pack(("WAITAOF", 1, 0, WAITAOF_TIMEOUT_MS)) if self._is_fsynced else commit

    def read_replies(self, replies: Replies) -> Committed:
        """Return what the commit did.

        Raises CommitRefusedError when the batch is not (yet) as safe as an acknowledgement would promise.
        """
        for reply in replies:
            if isinstance(reply, Exception):
                raise CommitRefusedError(str(reply))
        if self._is_fsynced and replies[1][0] < 1:
            raise CommitRefusedError(f"not fsynced within {WAITAOF_TIMEOUT_MS} ms")
        is_new, refused_retained, sequence_numbers, dropped = replies[0]
        return Committed(int(refused_retained), sequence_numbers if is_new else None, int(dropped))


def _compile(operations: list[Change], first_key: int) -> tuple[list[str], bytes, list[bytes]]:
    """Return the keys that operations name, the operations with indices in their place, and the entries to enqueue."""
    keys: dict[str, int] = {}
    entries: dict[int, int] = {}
    blobs: list[bytes] = []

    def index_of(key: str) -> int:
        return keys.setdefault(key, first_key + len(keys) + 1)

    compiled: list[tuple[Any, ...]] = []
    for operation in operations:
        if isinstance(operation, Enqueue):
            position = entries.get(id(operation.entry))  # one message to many sessions is one object
            if position is None:
                position = entries[id(operation.entry)] = len(blobs)
                blobs.append(operation.entry)
            session, queue = schema.session(operation.client_id), schema.queue(operation.client_id)
            compiled.append(("enqueue", index_of(session), index_of(queue), position, operation.since_ms))
        elif isinstance(operation, Dequeue):
            client_id, number, entry_bytes, is_dropped = operation
            session, queue = schema.session(client_id), schema.queue(client_id)
            compiled.append(("dequeue", index_of(session), index_of(queue), f"0-{number}", entry_bytes, is_dropped))
        elif isinstance(operation, Rename):
            compiled.append(("rename", index_of(operation.key), index_of(operation.new_key), operation.ttl_s))
        else:
            compiled.append((operation.command, index_of(operation.key), *operation.arguments))
    return list(keys), _encode(compiled), blobs
