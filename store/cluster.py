"""What nodes share of who serves which client and who wants which messages: operations, records and scripts. No I/O.

own, disown, will       which node serves a client, and what to publish if it dies
pass_on                 what a session that ends leaves to other members of its groups: into this node's inbox
route, session_filter   who wants what: a record for new nodes, and a change that every node gets
deliver                 messages for the clients of another node: into its inbox
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from store import schema
from store.commit_log import Change, ClientChange, Deliver, Operation, ReadUpTo, RouteChange
from store.model import Message
from store.scripting import load_script
from store.session_store import QueueEntry, StoredOptions, decode_entry

BEAT = load_script("beat")
BURY = load_script("bury")
ADOPT = load_script("adopt")

ADOPT_CLIENTS = 200
ADOPTING_MS = 10_000


class InboxEntry(msgspec.Struct, array_like=True, gc=False):
    """Messages of one commit that clients of one other node want.

    `ordinary`: indices of those for whoever subscribed for itself; None: all.
    `shared`: index and shared filter of those for one of the node's members of that group.
    """

    messages: list[Message]
    ordinary: list[int] | None = None
    shared: list[tuple[int, str]] = []


class StoredWill(msgspec.Struct, array_like=True, gc=False):
    """A will as the store keeps it while its client is connected. `message.received_ms` is set when it is published.

    `due_ms`: when it is to be published, once its client is gone; 0 before.
    """

    message: Message
    delay_s: int
    due_ms: int = 0


class WillMessage(Message):
    """A will that is published."""


class DueWill(WillMessage):
    """The will of a connection that has ended at another node: this node publishes it, whoever serves its client now."""


class NodeRoute(msgspec.Struct, array_like=True, tag="r", frozen=True):
    """A node wants what a filter matches; `count`: how many of its clients share it, 0: it does not any more."""

    node_id: str
    topic_filter: str
    count: int


class SessionFilter(msgspec.Struct, array_like=True, tag="f", frozen=True):
    """A persistent session has subscribed to a filter; `options` None: unsubscribed. `node_id`: the node that says so."""

    node_id: str
    client_id: str
    topic_filter: str
    options: StoredOptions | None


class SessionEnded(msgspec.Struct, array_like=True, tag="s", frozen=True):
    """A persistent session has ended. `node_id`: the node that says so."""

    node_id: str
    client_id: str


class NodeGone(msgspec.Struct, array_like=True, tag="n", frozen=True):
    """A node has left or was given up."""

    node_id: str


_encode = msgspec.msgpack.Encoder().encode
RoutingChange = NodeRoute | SessionFilter | SessionEnded | NodeGone
_decode_change = msgspec.msgpack.Decoder(RoutingChange).decode
_decode_inbox_entry = msgspec.msgpack.Decoder(InboxEntry).decode
_decode_will = msgspec.msgpack.Decoder(StoredWill).decode


# --- operations


def own(client_id: str, *, is_new: bool) -> ClientChange:
    """Serve a client from now on; a node that did has lost it. `is_new`: an earlier session ends, `pass_on` included."""
    return ClientChange("own", client_id, (client_id, int(is_new)))


def disown(client_id: str) -> ClientChange:
    """Serve a client no more: its session has ended."""
    return ClientChange("disown", client_id, (client_id,))


def pass_on(client_id: str) -> ClientChange:
    """Have this node hand on what a session that ends shares and has in its queue; deleting it follows."""
    return ClientChange("pass_on", client_id, (client_id,))


def set_will(node_id: str, client_id: str, will: StoredWill) -> Operation:
    """Keep a will, for the case that this node dies, or until it is due."""
    value = (b"1" if will.delay_s else b"0") + _encode(will)
    return Operation("HSET", schema.of_node("wills", node_id), (f"c:{client_id}", value), client_id)


def clear_will(node_id: str, client_id: str, *, is_due: bool = False) -> Operation:
    """Forget a will: it is published with the same commit, or never."""
    field = f"{'d' if is_due else 'c'}:{client_id}"
    return Operation("HDEL", schema.of_node("wills", node_id), (field,), "" if is_due else client_id)


def make_will_due(clear: Operation, message: Message) -> tuple[list[Change], Operation]:
    """Return changes that have a will due at this node, whoever serves its client, and the one that publishing it brings.

    `clear`: what publishing it would have brought before (`clear_will`).
    """
    field = f"d:{clear.client_id}"
    due = Operation("HSET", clear.key, (field, b"0" + _encode(StoredWill(message, 0))))
    return [clear, due], Operation("HDEL", clear.key, (field,))


def read_will(value: bytes) -> StoredWill:
    """Return the will that `set_will` stored. Raises ValueError for anything else."""
    return _decode_will(value[1:])


def route(route: NodeRoute) -> list[Change]:
    """Say for how many clients this node wants what a filter matches."""
    key = schema.of_node("routes-of", route.node_id)
    record = (
        Operation("HSET", key, (route.topic_filter, route.count))
        if route.count
        else Operation("HDEL", key, (route.topic_filter,))
    )
    return [record, RouteChange(_encode(route))]


def session_filter(node_id: str, client_id: str, topic_filter: str, options: StoredOptions | None) -> RouteChange:
    """Say that a persistent session has subscribed to a filter, or unsubscribed."""
    return RouteChange(_encode(SessionFilter(node_id, client_id, topic_filter, options)), client_id)


def end_session(node_id: str, client_id: str) -> list[Change]:
    """End a persistent session, in the store and for all nodes."""
    return [
        ClientChange("end", client_id, (client_id,)),
        RouteChange(_encode(SessionEnded(node_id, client_id)), client_id),
    ]


def deliver(node_id: str, entry: InboxEntry) -> Deliver:
    """Put messages into a node's inbox, unless that node is gone."""
    return Deliver(node_id, _encode(entry), len(entry.messages))


def read_up_to(entries: list[Any]) -> ReadUpTo:
    """Take entries of a stream reply out of this node's inbox: what they brought is stored with the same commit."""
    size_bytes = sum(len(fields[1]) for _, fields in entries if fields[0] == b"m")
    return ReadUpTo(entries[-1][0].decode(), size_bytes)


# --- what comes back

_LEFT = {b"q": False, b"r": True}  # whether the entry was sent


class Inboxed(NamedTuple):
    """One entry of a node's inbox: messages, or a client that was lost (with its number), or a will that is due.

    Or what a session that has ended had in its queue, and whether its client had been sent it.
    """

    entry: InboxEntry | None = None
    lost: tuple[str, int] | None = None
    will: tuple[str, StoredWill] | None = None
    left: list[tuple[QueueEntry, bool]] | None = None


def read_inbox(reply: list[Any]) -> list[Inboxed]:
    """Return the entries of a stream reply; one that nobody understands is left out."""
    found: list[Inboxed] = []
    for _, fields in reply:
        kind, value = fields[0], fields[1]
        if kind == b"m":
            found.append(Inboxed(entry=_decode_inbox_entry(value)))
        elif kind == b"s":  # a dead node's: only what its clients share is anybody else's
            found.append(Inboxed(entry=InboxEntry((entry := _decode_inbox_entry(value)).messages, [], entry.shared)))
        elif kind == b"x":
            found.append(Inboxed(lost=(value.decode(), int(fields[3]))))
        elif kind == b"w":
            found.append(Inboxed(will=(value.decode(), read_will(fields[3]))))
        elif kind in _LEFT:
            kinds, entries = fields[::2], map(decode_entry, fields[1::2])
            found.append(Inboxed(left=[(entry, _LEFT[kind]) for kind, entry in zip(kinds, entries, strict=True)]))
    return found


def read_changes(reply: list[Any]) -> list[tuple[int, RoutingChange]]:
    """Return changes of the routes with their versions."""
    return [(int(entry_id[2:]), _decode_change(fields[1])) for entry_id, fields in reply]


# --- commands


def join_commands(node_id: str) -> list[tuple[Any, ...]]:
    """Become a member: from now on this node may write, and is told what it loses."""
    return [
        ("HSETNX", schema.of_node("member", node_id), "lost", 0),
        ("XADD", schema.of_node("inbox", node_id), "0-1", "joined", ""),
    ]


def beat_command(node_id: str, timeout_ms: int) -> tuple[Any, ...]:
    """Say that this node lives; the reply is described in scripts/beat.lua."""
    keys = (schema.MEMBERS, schema.of_node("member", node_id), schema.DEAD)
    return ("EVALSHA", BEAT.sha, len(keys), *keys, node_id, timeout_ms)


def bury_command(node_id: str, silent_ms: int) -> tuple[Any, ...]:
    """Give a node up that has been silent for so long; 0: this one leaves."""
    parts = (schema.of_node(part, node_id) for part in ("member", "lost", "routes-of"))
    keys = (schema.MEMBERS, *parts, schema.DEAD, schema.ROUTES, schema.ROUTES_VERSION, schema.ACCOUNTS)
    return ("EVALSHA", BURY.sha, len(keys), *keys, node_id, silent_ms, _encode(NodeGone(node_id)))


def adopt_command(dead_id: str, node_id: str) -> tuple[Any, ...]:
    """Take over up to ADOPT_CLIENTS clients of a node that is gone, and as much of its inbox."""
    theirs = (schema.of_node(part, dead_id) for part in ("owned", "wills", "inbox"))
    ours = (schema.of_node(part, node_id) for part in ("member", "owned", "wills"))
    keys = (schema.DEAD, *theirs, schema.OWNERS, *ours)
    return ("EVALSHA", ADOPT.sha, len(keys), *keys, dead_id, node_id, ADOPT_CLIENTS)
