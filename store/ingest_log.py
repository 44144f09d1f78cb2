"""Read the ingest log in order, by whoever holds a lease: the projector, and each outlet, with a lease of its own (async).

A lease saves work; nothing relies on it. The client given should not retry by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.model import MAX_FRAME_MESSAGES, Message, MessageId, decode_frame
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from store.cluster_link import ClusterLink
    from store.link import StoreLink

    Entry = tuple[bytes, bytes | None]
    """Id and frame; no frame where an entry has no field `f`."""

READ_BYTES = 2 * 1024 * 1024  # in one round: several thousand messages, so that a device's share of them pays
READ_MESSAGES = 16_384  # some 500 bytes each in memory, besides what was read
READ_ENTRIES = 2000


class IngestLog:
    """The log, for one reader of it. Every method raises redis.RedisError or OSError when the store does not answer."""

    def __init__(self, client: Redis, link: StoreLink | ClusterLink, lease: str) -> None:
        """`lease`: the key under which readers of this kind agree who of them reads."""
        self._run = ScriptRunner(client, link).run
        self._redis: Any = client  # redis-py types a command for both of its kinds of client at once
        self._lease = lease
        self._take = load_script("lease")
        self._release = load_script("release")
        self._read = load_script("read")

    async def take_lease(self, node_id: str, ttl_ms: int) -> bool:
        """Take or renew the right to read; False if another node has it."""
        (held,) = await self._run([(self._take, [self._lease], [node_id, ttl_ms])])
        return bool(held)

    async def release_lease(self, node_id: str) -> None:
        """Give up the right to read, if the node has it."""
        await self._run([(self._release, [self._lease], [node_id])])

    async def read(self, after: MessageId) -> list[Entry]:
        """Return the entries after the one of `after`: READ_BYTES and READ_MESSAGES at most, or one that has more."""
        bounds = (READ_BYTES, READ_MESSAGES, READ_ENTRIES)
        (entries,) = await self._run([(self._read, [schema.LOG], [after.log_id, *bounds])])
        return [(log_id, _frame(fields)) for log_id, fields in entries]

    async def await_entry(self, after: MessageId, block_ms: int) -> None:
        """Return when the log has an entry after the one of `after`, or after `block_ms`. Holds one connection."""
        await self._redis.execute_command(
            "XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", schema.LOG, after.log_id
        )  # fmt: skip


def fills_a_read(entries: list[Entry]) -> bool:
    """Whether the reader of these is behind: there is about as much as it can read at once."""
    frames = [frame or b"" for _, frame in entries]
    is_full = len(frames) >= READ_ENTRIES or sum(map(len, frames)) > READ_BYTES // 2
    return is_full or sum(map(message_count, frames)) > READ_MESSAGES // 2


def message_count(frame: bytes) -> int:
    """Return how many messages a frame says it holds: the head of a msgpack array. 0 where it is none."""
    if frame[:1] == b"\xdc":
        return int.from_bytes(frame[1:3], "big")
    if frame[:1] == b"\xdd":
        return int.from_bytes(frame[1:5], "big")
    return frame[0] - 0x90 if frame and 0x90 <= frame[0] < 0xA0 else 0


def decode_entry(frame: bytes | None) -> list[Message]:
    """Return the messages of an entry. Raises ValueError where it holds none that can be read."""
    messages = decode_frame(frame or b"")
    if len(messages) > MAX_FRAME_MESSAGES:
        raise ValueError(f"it holds {len(messages)} messages")
    return messages


def _frame(fields: list[bytes]) -> bytes | None:
    return fields[1] if len(fields) > 1 and fields[0] == schema.LOG_FIELD.encode() else None
