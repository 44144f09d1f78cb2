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
FREEING_COMMIT = load_script("allow_oom", "commit")
"""The same for a commit that frees memory, which Redis executes also when it is over `maxmemory`."""

MARKER_TTL_S = 86_400
INBOX_BYTES = 8 * 1024 * 1024
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


class EnqueueRetained(NamedTuple):
    """Enqueue a retained message, unless its topic has another one than `version` by now."""

    client_id: str
    entry: bytes
    since_ms: int
    topic_name: str
    version: int


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
    """`own` or `disown` a client, `end` its session, or `pass_on` what it leaves, see `cluster`."""

    name: str
    client_id: str
    arguments: tuple[str | int, ...]


class RouteChange(NamedTuple):
    """A change of who wants what, for every node, see `cluster`."""

    change: bytes
    client_id: str = ""


class Deliver(NamedTuple):
    """Put messages (`cluster.InboxEntry`) into another node's inbox; where it is full, they are counted there."""

    node_id: str
    entry: bytes
    messages: int
    client_id: str = ""


class ReadUpTo(NamedTuple):
    """Take entries out of this node's inbox, up to this one; `size_bytes`: of what `Deliver` has put there."""

    entry_id: str
    size_bytes: int
    client_id: str = ""


Change = Enqueue | EnqueueRetained | Dequeue | Operation | ClientChange | RouteChange | Deliver | ReadUpTo
"""What a commit can do besides storing messages."""


class Standing(NamedTuple):
    """What this node knows of the others: how many clients it has lost to them, the version of the routes, its inbox."""

    lost: int
    routes: int
    inbox: str
    """The id of the last entry of its inbox that it has read."""


class Committed(NamedTuple):
    """What a commit did. `sequence_numbers`: one for each Enqueue and EnqueueRetained in order; None: unknown.
    0: the queue is full; -1: the session is gone; -2: another message is retained by now.

    `dropped`: entries of queues that nobody was sent, because they were too old.
    `routes`: their version now, this node's own changes included; None: unknown.
    """

    refused_retained: int
    sequence_numbers: list[int] | None
    dropped: int
    routes: int | None
    inbox: list[Any]
    """Stream entries that other nodes' commits before this one have put into this node's inbox."""

    retained_version: int
    """Of the retained messages as they were before this commit: whatever is newer was routed by this node's subscriptions."""

    missed: int
    """How many messages this node's inbox has not taken, ever."""


class Outdated(NamedTuple):
    """Why a commit was not done: this node has to take note of something first.

    `lost`: how many clients it has lost in all; `lost_client_ids`: the last of these.
    `changes`: of the routes, as stream entries; None: there are too many, they have to be read anew.
    """

    lost: int
    lost_client_ids: list[str]
    changes: list[Any] | None
    inbox: list[Any]
    missed: int


class StoreLimits(NamedTuple):
    """What the store keeps at most, in bytes over all nodes: retained messages, queues; one inbox; changes of the routes."""

    retained_bytes: int
    queues_bytes: int
    inbox_bytes: int = INBOX_BYTES
    routes_bytes: int = 2 * 1024 * 1024


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
            schema.of_node("inbox", node_id), schema.ACCOUNTS,
        )  # fmt: skip
        self._is_fsynced = is_fsynced
        self._limits = (max_retained, queue_messages, queue_bytes, queue_age_s * 1000)
        self.reply_count = 2 if is_fsynced else 1

    def request(
        self,
        number: int,
        messages: list[Message],
        retained: Iterable[tuple[str, Message | None]],
        operations: list[Change] | None,
        standing: Standing,
        now_ms: int,
        bounds: StoreLimits,
        *,
        is_freeing: bool = False,
    ) -> bytes:
        """Return the packed commands that commit `messages` and `operations` as commit `number`.

        The store refuses it if there is something that `standing` does not know. `operations` None: there are none, and nobody
        asks for the version of the retained messages.
        `retained`: topic names whose retained message this batch changes, None where it is cleared.
        `is_freeing`: execute it although the store is over its memory limit.
        """
        pairs: list[str | bytes] = []
        for topic_name, message in retained:
            pairs += (topic_name, encode_frame([message]) if message is not None else b"")
        keys, blob, entries = ([], b"", []) if operations is None else _compile(operations, len(self._keys))
        frame = encode_frame(messages) if messages else b""
        head = (number, MARKER_TTL_S, frame, *self._limits, blob, len(pairs) // 2)
        node = (self._node_id, standing.lost, standing.routes, now_ms, standing.inbox)
        arguments = (*head, *node, *bounds, *pairs, *entries)
        script = FREEING_COMMIT if is_freeing else COMMIT
        commit = pack(("EVALSHA", script.sha, len(self._keys) + len(keys), *self._keys, *keys, *arguments))
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
            _, lost, client_ids, _, changes, inbox, missed = outcome
            names = [each.decode() for each in client_ids]
            return Outdated(lost, names, changes if changes != 0 else None, inbox, missed)
        if self._is_fsynced and replies[1][0] < 1:
            raise CommitRefusedError(f"not fsynced within {WAITAOF_TIMEOUT_MS} ms")
        is_new, refused_retained, sequence_numbers, dropped, routes, inbox, retained_version, missed = outcome
        return Committed(
            int(refused_retained),
            sequence_numbers if is_new else None,
            int(dropped),
            routes if is_new else None,
            inbox,
            retained_version,
            missed,
        )


def _compile(operations: list[Change], first_key: int) -> tuple[list[str], bytes, list[bytes]]:  # noqa: C901  one case a change
    """Return the keys that operations name, the operations with indices in their place, and the entries to enqueue."""
    keys: dict[str, int] = {}
    entries: dict[int, int] = {}
    blobs: list[bytes] = []

    def index_of(key: str) -> int:
        return keys.setdefault(key, first_key + len(keys) + 1)

    def place_of(entry: bytes) -> int:
        position = entries.get(id(entry))  # one message to many sessions is one object
        if position is None:
            position = entries[id(entry)] = len(blobs)
            blobs.append(entry)
        return position

    def queue_of(client_id: str) -> tuple[int, int]:
        return index_of(schema.session(client_id)), index_of(schema.queue(client_id))

    compiled: list[tuple[Any, ...]] = []
    for change in operations:
        match change:
            case Enqueue(client_id, entry, since_ms):
                compiled.append(("enqueue", *queue_of(client_id), place_of(entry), since_ms))
            case EnqueueRetained(client_id, entry, since_ms, topic_name, version):
                found = (place_of(entry), since_ms, topic_name, str(version))
                compiled.append(("enqueue_retained", *queue_of(client_id), *found))
            case Dequeue(client_id, number, entry_bytes, is_dropped):
                compiled.append(("dequeue", *queue_of(client_id), f"0-{number}", entry_bytes, is_dropped))
            case ClientChange(name, _, arguments):
                compiled.append((name, *arguments))
            case RouteChange(blob):
                compiled.append(("change", _as_text(blob)))
            case Deliver(node_id, entry, messages):
                compiled.append(("deliver", node_id, _as_text(entry), messages))
            case ReadUpTo(entry_id, size_bytes):
                compiled.append(("read_up_to", entry_id, size_bytes))
            case Operation(command, key, arguments):
                texts = (_as_text(each) if isinstance(each, bytes) else each for each in arguments)
                compiled.append((command, index_of(key), *texts))
    return list(keys), _encode(compiled), blobs


def _as_text(data: bytes) -> msgspec.Raw:
    """Return bytes as a msgpack string: the store's scripts know no other kind, and do not mind what is in one."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)
