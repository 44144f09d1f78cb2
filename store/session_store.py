"""What the store keeps of a session that outlives its connection, and the operations that change it. No I/O.

Everything is written by commits (`commit_log.py`), in order with the messages; it is read over the same link.
A queue entry's sequence number, which the store gives, also yields its packet identifier: a message keeps it over
reconnects and restarts without one more write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from store import schema
from store.commit_log import Dequeue, Operation
from store.model import Message  # noqa: TC001  msgspec reads the annotation at run time
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.link import Replies, StoreLink

PAGE_ENTRIES = 200
PAGE_BYTES = 64 * 1024
SCAN_COUNT = 200
SESSIONS_PAGE_BYTES = 512 * 1024
CONNECTED = "+inf"
"""Score of a session in the index while its client is connected."""


class QueueEntry(msgspec.Struct, array_like=True, gc=False):
    """One message that waits for one session, with the QoS and flags it is to be sent with.

    `queued_ms`: since when it waits, where that is not since the message was received (a retained one); else 0.
    """

    message: Message
    qos: int
    is_retain: bool
    subscription_identifiers: tuple[int, ...] = ()
    shared_filter: str = ""
    queued_ms: int = 0

    @property
    def waits_since_ms(self) -> int:
        """When it joined the queue, in milliseconds since the epoch."""
        return self.queued_ms or self.message.received_ms


class Loaded(NamedTuple):
    """An entry as it stands in a queue: its sequence number, itself, and what it takes there."""

    number: int
    entry: QueueEntry
    entry_bytes: int


StoredOptions = tuple[int, bool, bool, int, int]
"""QoS, no local, retain as published, retain handling, subscription identifier."""

Subscriptions = dict[str, StoredOptions]
"""By topic filter."""

READ_SESSIONS = load_script("read_sessions")

encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(QueueEntry).decode
encode_options = msgspec.json.Encoder().encode
decode_options = msgspec.json.Decoder(StoredOptions).decode


class Page(NamedTuple):
    """How much of a queue is read at once: entries, and about what they take in memory."""

    entries: int = PAGE_ENTRIES
    size_bytes: int = PAGE_BYTES

    @classmethod
    def of(cls, entries: int, size_bytes: int) -> Page:
        """Return a page of about PAGE_BYTES, judged by entries of a queue and what they take; one entry at least."""
        if not entries:
            return cls()
        average_bytes = size_bytes // entries + 1
        most = max(1, min(PAGE_ENTRIES, PAGE_BYTES // average_bytes))
        return cls(most, most * average_bytes)


class StoredState(NamedTuple):
    """What has to be known to go on with a session: up to which entry it was sent, and what is half done."""

    sent: int
    released: set[int]
    received: set[int]
    last: int
    subscriptions: Subscriptions
    began: str
    queued_bytes: int
    queued: int


class StoredSession(NamedTuple):
    """A session as it is found at the start of a broker. `expires_ms` is infinite where its client was connected."""

    client_id: str
    expiry_interval_s: int
    expires_ms: float
    subscriptions: Subscriptions


# --- operations


def create(client_id: str, expiry_interval_s: int, token: str) -> list[Operation]:
    """Begin a session, or go on with it, and note that its client is connected; `token`: of this connection alone."""
    key = schema.session(client_id)
    return [
        Operation("HSET", key, ("expiry", expiry_interval_s), client_id),
        Operation("HSETNX", key, ("queued_bytes", 0), client_id),
        Operation("HSETNX", key, ("began", token), client_id),
        Operation("ZADD", schema.SESSIONS, (CONNECTED, client_id), client_id),
    ]


def disconnected(client_id: str, expiry_interval_s: int, expires_ms: float) -> list[Operation]:
    """Note until when a session without a connection is kept; DISCONNECT may have changed its interval."""
    score = CONNECTED if expires_ms == float("inf") else int(expires_ms)
    return [
        Operation("HSET", schema.session(client_id), ("expiry", expiry_interval_s), client_id),
        Operation("ZADD", schema.SESSIONS, (score, client_id), client_id),
    ]


def subscribe(client_id: str, topic_filter: str, options: StoredOptions) -> Operation:
    """Add a subscription, or replace its options."""
    return Operation("HSET", schema.subscriptions(client_id), (topic_filter, encode_options(options)), client_id)


def unsubscribe(client_id: str, topic_filter: str) -> Operation:
    """Take a subscription away."""
    return Operation("HDEL", schema.subscriptions(client_id), (topic_filter,), client_id)


def sent(client_id: str, sequence_number: int) -> Operation:
    """Note that entries up to this one have been sent at least once: from now on they are repeats."""
    return Operation("HSET", schema.session(client_id), ("sent", sequence_number), client_id)


def remove(
    client_id: str, sequence_number: int, entry_bytes: int, *, was_released: bool, is_dropped: bool
) -> list[Dequeue | Operation]:
    """Take an entry out of the queue: it is acknowledged, or dropped and counted."""
    dequeue = Dequeue(client_id, sequence_number, entry_bytes, is_dropped)
    if not was_released:
        return [dequeue]
    return [dequeue, Operation("SREM", schema.released(client_id), (sequence_number,), client_id)]


def release(client_id: str, sequence_number: int) -> Operation:
    """Note PUBREC for an entry: only PUBREL may follow."""
    return Operation("SADD", schema.released(client_id), (sequence_number,), client_id)


def receive(client_id: str, packet_id: int) -> Operation:
    """Note a QoS 2 packet identifier, in the commit that stores its message."""
    return Operation("SADD", schema.received(client_id), (packet_id,), client_id)


def forget_received(client_id: str, packet_id: int) -> Operation:
    """Let a QoS 2 packet identifier go: PUBREL came."""
    return Operation("SREM", schema.received(client_id), (packet_id,), client_id)


# --- reading


def state_commands(client_id: str) -> list[tuple[Any, ...]]:
    """Commands whose replies `read_state` understands."""
    queue = schema.queue(client_id)
    return [
        ("HMGET", schema.session(client_id), "sent", "began", "queued_bytes"),
        ("HGETALL", schema.subscriptions(client_id)),
        ("SMEMBERS", schema.released(client_id)),
        ("SMEMBERS", schema.received(client_id)),
        ("XLEN", queue),
        ("XREVRANGE", queue, "+", "-", "COUNT", 1),
    ]


def read_state(replies: Replies) -> StoredState:
    """Return a session's state from the replies to `state_commands`. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    (sent_to, began, queued_bytes), flat, released, received, queued, newest = replies
    return StoredState(
        int(sent_to or 0),
        {int(each) for each in released},
        {int(each) for each in received},
        _sequence_number(newest[0][0]) if newest else 0,
        read_subscriptions(flat),
        (began or b"").decode(),
        int(queued_bytes or 0),
        queued,
    )


def read_subscriptions(flat: list[bytes]) -> Subscriptions:
    """Return subscriptions from a reply of fields and values."""
    return {name.decode(): decode_options(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def page_command(client_id: str, after: int, entries: int) -> tuple[Any, ...]:
    """The command that reads the next entries of a queue."""
    return ("XRANGE", schema.queue(client_id), f"(0-{after}", "+", "COUNT", entries)


def read_entries(reply: Any) -> list[Loaded]:
    """Return each queue entry in a reply."""
    return [Loaded(_sequence_number(entry_id), decode_entry(fields[1]), len(fields[1])) for entry_id, fields in reply]


def _sequence_number(entry_id: bytes) -> int:
    return int(entry_id[2:])


async def read_sessions(link: StoreLink, client_ids: list[str]) -> list[StoredSession]:
    """Read the sessions that there are of some clients, SESSIONS_PAGE_BYTES at a time. Raises LinkDownError."""
    found: list[StoredSession] = []
    while client_ids:
        (page,) = await link.call(read_sessions_command(client_ids))
        found += sessions_of(client_ids, page)
        client_ids = client_ids[len(page) :]
    return found


def read_sessions_command(client_ids: list[str]) -> tuple[Any, ...]:
    """The command that reads as many of these clients' sessions as fit into SESSIONS_PAGE_BYTES, at least one."""
    return ("EVALSHA", READ_SESSIONS.sha, 1, schema.SESSIONS, SESSIONS_PAGE_BYTES, *client_ids)


def sessions_of(client_ids: list[str], page: list[Any]) -> list[StoredSession]:
    """Return the sessions in a reply to `read_sessions_command`: of the first of these clients."""
    return [
        StoredSession(client_id, int(expiry), float(score), read_subscriptions(flat))
        for client_id, (expiry, score, flat) in zip(client_ids, page, strict=False)
        if expiry is not None and score is not None
    ]


async def stored_sessions(link: StoreLink) -> AsyncIterator[list[StoredSession]]:
    """Yield all sessions there are, a page at a time; one that begins or changes meanwhile may be missing or old.

    Raises LinkDownError.
    """
    cursor = b"0"
    while True:
        ((cursor, row),) = await link.call(("ZSCAN", schema.SESSIONS, cursor, "COUNT", SCAN_COUNT))
        client_ids = [name.decode() for name in row[::2]]
        while client_ids:
            (page,) = await link.call(read_sessions_command(client_ids))
            yield sessions_of(client_ids, page)
            client_ids = client_ids[len(page) :]
        if cursor == b"0":
            return
