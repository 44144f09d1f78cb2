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

if TYPE_CHECKING:
    from store.link import Replies, StoreLink

PAGE_ENTRIES = 200
BOOT_PAGE = 500
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


StoredSubscription = tuple[str, int, bool, bool, int, int]
"""Topic filter, QoS, no local, retain as published, retain handling, subscription identifier."""

encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(QueueEntry).decode
encode_subscriptions = msgspec.json.Encoder().encode
decode_subscriptions = msgspec.json.Decoder(list[StoredSubscription]).decode


class StoredState(NamedTuple):
    """What has to be known to go on with a session: up to which entry it was sent, and what is half done."""

    sent: int
    released: set[int]
    received: set[int]
    entries: list[Loaded]
    last: int
    subscriptions: list[StoredSubscription]
    began: str


class StoredSession(NamedTuple):
    """A session as it is found at the start of a broker. `expires_ms` is infinite where its client was connected."""

    client_id: str
    expiry_interval_s: int
    expires_ms: float
    subscriptions: list[StoredSubscription]


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


def delete(client_id: str) -> list[Operation]:
    """End a session."""
    keys = (
        schema.session(client_id), schema.queue(client_id), schema.received(client_id), schema.released(client_id),
    )  # fmt: skip
    return [
        *(Operation("DEL", key, (), client_id) for key in keys),
        Operation("ZREM", schema.SESSIONS, (client_id,), client_id),
    ]


def subscriptions(client_id: str, current: list[StoredSubscription]) -> list[Operation]:
    """Replace a session's subscriptions."""
    encoded = encode_subscriptions(current).decode()
    return [Operation("HSET", schema.session(client_id), ("subscriptions", encoded), client_id)]


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
        ("HMGET", schema.session(client_id), "sent", "subscriptions", "began"),
        ("SMEMBERS", schema.released(client_id)),
        ("SMEMBERS", schema.received(client_id)),
        ("XRANGE", queue, "-", "+", "COUNT", PAGE_ENTRIES),
        ("XREVRANGE", queue, "+", "-", "COUNT", 1),
    ]


def read_state(replies: Replies) -> StoredState:
    """Return a session's state from the replies to `state_commands`. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    (sent_to, wanted, began), released, received, entries, newest = replies
    return StoredState(
        int(sent_to or 0),
        {int(each) for each in released},
        {int(each) for each in received},
        read_entries(entries),
        _sequence_number(newest[0][0]) if newest else 0,
        decode_subscriptions(wanted or b"[]"),
        (began or b"").decode(),
    )


def page_command(client_id: str, after: int) -> tuple[Any, ...]:
    """The command that reads the next entries of a queue."""
    return ("XRANGE", schema.queue(client_id), f"(0-{after}", "+", "COUNT", PAGE_ENTRIES)


def read_entries(reply: Any) -> list[Loaded]:
    """Return each queue entry in a reply."""
    return [Loaded(_sequence_number(entry_id), decode_entry(fields[1]), len(fields[1])) for entry_id, fields in reply]


def _sequence_number(entry_id: bytes) -> int:
    return int(entry_id[2:])


def stored_session_commands(client_ids: list[str]) -> list[tuple[Any, ...]]:
    """Commands, two for each client, whose replies `read_stored_session` understands."""
    return [
        command
        for client_id in client_ids
        for command in (
            ("HMGET", schema.session(client_id), "expiry", "subscriptions"),
            ("ZSCORE", schema.SESSIONS, client_id),
        )
    ]


def read_stored_session(client_id: str, row: list[bytes | None], score: bytes | None) -> StoredSession | None:
    """Return the session that two replies describe, None where there is none."""
    expiry, wanted = row
    if expiry is None or score is None:
        return None
    return StoredSession(client_id, int(expiry), float(score), decode_subscriptions(wanted or b"[]"))


async def stored_sessions(link: StoreLink) -> list[StoredSession]:
    """Read every session there is, BOOT_PAGE at a time. Raises LinkDownError."""
    found: list[StoredSession] = []
    start = 0
    while True:
        command = ("ZRANGE", schema.SESSIONS, start, start + BOOT_PAGE - 1, "WITHSCORES")
        (row,) = await link.call(command)
        names = [name.decode() for name in row[::2]]
        if not names:
            return found
        hashes = await link.call(*(("HMGET", schema.session(name), "expiry", "subscriptions") for name in names))
        rows = zip(names, hashes, row[1::2], strict=True)
        found += [each for each in (read_stored_session(*row) for row in rows) if each is not None]
        start += BOOT_PAGE
