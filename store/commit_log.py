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
NO_WAITAOF = "ACK_AFTER=disk needs Redis 7.2 or Valkey, and this server is older"

_OUTDATED, _FENCED = 2, 3
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
    """A plain write: the command, its key and the rest of its arguments.

    `client_id`, here and below: whose session it belongs to; it is left out if this node has lost that client meanwhile.
    """

    command: str
    key: str
    arguments: tuple[str | int | bytes, ...] = ()
    client_id: str = ""


class ClientChange(NamedTuple):
    """`own` or `disown` a client, or `pass_on` what it leaves, see `cluster`."""

    name: str
    client_id: str
    arguments: tuple[str | int, ...]


class RouteChange(NamedTuple):
    """A change of who wants what, for every node, see `cluster`."""

    change: bytes
    client_id: str = ""


Change = Enqueue | Dequeue | Operation | ClientChange | RouteChange
"""What a commit can do besides storing messages."""


class Standing(NamedTuple):
    """What this node knows of the others: how many clients it has lost to them, the version of the routes, its inbox."""

    lost: int
    routes: int
    inbox: str
    """The id of the last entry of its inbox that it has read."""


class Committed(NamedTuple):
    """What a commit did. `sequence_numbers`: one for each Enqueue in order; 0: queue full, -1: session gone; None: unknown.

    `dropped`: entries of queues that nobody was sent, because they were too old.
    `routes`: their version now, this node's own changes included; None: unknown.
    """

    refused_retained: int
    sequence_numbers: list[int] | None
    dropped: int
    routes: int | None
    inbox: list[Any]
    """Stream entries that other nodes' commits before this one have put into this node's inbox."""


class Outdated(NamedTuple):
    """Why a commit was not done: this node has to take note of something first.

    `lost`: how many clients it has lost in all; `lost_client_ids`: the last of these.
    `changes`: of the routes, as stream entries; None: there are too many, they have to be read anew.
    """

    lost: int
    lost_client_ids: list[str]
    changes: list[Any] | None
    inbox: list[Any]


class FencedError(Exception):
    """The other nodes have given this one up: it may not write any more."""


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
        self._node_id = node_id
        self._keys = (
            schema.LOG, schema.committed(node_id), schema.RETAINED, schema.RETAINED_INDEX,
            schema.of_node("member", node_id), schema.of_node("lost", node_id), schema.ROUTES, schema.ROUTES_VERSION,
            schema.of_node("inbox", node_id),
        )  # fmt: skip
        self._is_fsynced = is_fsynced
        self._limits = (max_retained, queue_messages, queue_bytes, queue_age_s * 1000)
        self.reply_count = 2 if is_fsynced else 1

    def request(
        self,
        number: int,
        messages: list[Message],
        retained: Iterable[tuple[str, Message | None]],
        operations: list[Change],
        standing: Standing,
        now_ms: int,
    ) -> bytes:
        """Return the packed commands that commit `messages` and `operations` as commit `number`.

        The store refuses it if there is something that `standing` does not know.
        `retained`: topic names whose retained message this batch changes, None where it is cleared.
        """
        pairs: list[str | bytes] = []
        for topic_name, message in retained:
            pairs += (topic_name, encode_frame([message]) if message is not None else b"")
        keys, blob, entries = _compile(operations, len(self._keys)) if operations else ([], b"", [])
        frame = encode_frame(messages) if messages else b""
        head = (number, MARKER_TTL_S, frame, *self._limits, blob, len(pairs) // 2)
        node = (self._node_id, standing.lost, standing.routes, now_ms, standing.inbox)
        arguments = (*head, *node, *pairs, *entries)
        commit = pack(("EVALSHA", COMMIT.sha, len(self._keys) + len(keys), *self._keys, *keys, *arguments))
        return commit + pack(("WAITAOF", 1, 0, WAITAOF_TIMEOUT_MS)) if self._is_fsynced else commit

    def read_replies(self, replies: Replies) -> Committed | Outdated:
        """Return what the commit did, or what this node has to know before it can be done.

        Raises CommitRefusedError when the batch is not (yet) as safe as an acknowledgement would promise, and FencedError.
        """
        for reply in replies:
            if isinstance(reply, Exception):
                raise CommitRefusedError(NO_WAITAOF if "unknown command 'WAITAOF'" in str(reply) else str(reply))
        outcome = replies[0]
        if outcome[0] == _FENCED:
            raise FencedError
        if outcome[0] == _OUTDATED:
            _, lost, client_ids, _, changes, inbox = outcome
            return Outdated(lost, [each.decode() for each in client_ids], changes if changes != 0 else None, inbox)
        if self._is_fsynced and replies[1][0] < 1:
            raise CommitRefusedError(f"not fsynced within {WAITAOF_TIMEOUT_MS} ms")
        is_new, refused_retained, sequence_numbers, dropped, routes, inbox = outcome
        return Committed(
            int(refused_retained),
            sequence_numbers if is_new else None,
            int(dropped),
            routes if is_new else None,
            inbox,
        )


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
        elif isinstance(operation, ClientChange):
            compiled.append((operation.name, *operation.arguments))
        elif isinstance(operation, RouteChange):
            compiled.append(("change", _as_text(operation.change)))
        else:
            arguments = (_as_text(each) if isinstance(each, bytes) else each for each in operation.arguments)
            compiled.append((operation.command, index_of(operation.key), *arguments))
    return list(keys), _encode(compiled), blobs


def _as_text(data: bytes) -> msgspec.Raw:
    """Return bytes as a msgpack string: the store's scripts know no other kind, and do not mind what is in one."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)
