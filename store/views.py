"""Write the views: what the projector makes of the ingest log (async; `query` reads them).

Every write is one atomic script that compares a stored position first, so a repeated write, or that of a second
projector, changes nothing. No view is written here without one, but for the two indices of devices, which only grow.
The client given should not retry by itself: a write that a restarted store has forgotten must not be sent again
without reading the position first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import redis
from redis.exceptions import NoScriptError

from store import schema
from store.model import MessageId
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink
    from store.scripting import Script

READ_BYTES = 2 * 1024 * 1024  # of log in one round: several thousand messages, so that a device's script pays
READ_ENTRIES = 2000
LOG_ENTRY_BYTES = 32  # what an entry takes besides its frame, about
MEMORY_SAMPLES = 1000  # stream nodes that MEMORY USAGE looks at; about 1 ms at most
INDEX_MEMBERS = 256
RATE_KEPT_S = 2 * 3600
UP_TIMEOUT_S = 5.0
START = MessageId(0, 0)

_encode = msgspec.msgpack.Encoder().encode

Minute = tuple[int, float, float, float, int]
"""Minute of an hour (0-59), min, max, sum and count of a field's numbers in it."""


class FieldWrite(NamedTuple):
    """One JSON field: msgpack [last value, ts_ms], and its new minutes by hour (since the epoch)."""

    path: str
    value: bytes
    rollups: dict[int, list[Minute]]


class ChunkWrite(NamedTuple):
    """Some messages of the history: id of the first, their frame, msgpack list of their [ms, seq] ids, count."""

    id: str
    frame: bytes
    ids: bytes
    messages: int


@dataclass(frozen=True, slots=True)
class DeviceWrite:
    """What one group of messages, in the order of the log, changes at one device.

    `after`: the device's last message that was grouped before these in the same batch, else START.
    `topics`: topic name and msgpack as in `schema` of the last message of each topic.
    """

    device_id: str
    after: MessageId
    first: MessageId
    last: MessageId
    first_ms: int
    last_ms: int
    messages: int
    payload_bytes: int
    client_id: str
    fields: list[FieldWrite]
    topics: list[tuple[str, bytes]]
    chunks: list[ChunkWrite]


@dataclass(frozen=True, slots=True)
class FleetWrite:
    """What a batch, read from the log after `after`, adds to the totals. `slots`: messages by start of slot (s)."""

    after: MessageId
    first: MessageId
    last: MessageId
    messages: int
    payload_bytes: int
    entries: int
    log_bytes: int
    slots: dict[int, int]


class Backlog(NamedTuple):
    """What is not projected yet: when its oldest entry was committed (None: nothing waits), and its bytes, about."""

    oldest_ms: int | None
    bytes: int


class Views:
    """The views of one store. Every method raises redis.RedisError or OSError when the store does not do it."""

    def __init__(self, client: Redis, settings: Settings, link: StoreLink | ClusterLink) -> None:
        self._link = link  # scripts go this way: redis-py's asyncio client packs commands in Python, at 70 µs a device
        self._redis: Any = client  # redis-py types a command for both of its kinds of client at once
        self._settings = settings
        self._lease = load_script("lease")
        self._release = load_script("release")
        self._read = load_script("read")
        self._device = load_script("position", "device")
        self._fleet = load_script("position", "fleet")

    async def take_lease(self, node_id: str, ttl_ms: int) -> bool:
        """Take or renew the right to project; False if another node has it. It saves work; nothing relies on it."""
        (held,) = await self._run([(self._lease, [schema.PROJECTOR], [node_id, ttl_ms])])
        return bool(held)

    async def release_lease(self, node_id: str) -> None:
        """Give up the right to project, if the node has it."""
        await self._run([(self._release, [schema.PROJECTOR], [node_id])])

    async def position(self) -> MessageId:
        """Return up to which message the log is projected; START if nothing is."""
        return _id(await self._redis.hget(schema.FLEET, "position"))

    async def read_log(self, after: MessageId) -> list[tuple[bytes, bytes | None]]:
        """Return id and frame of the entries after the one of `after`: READ_BYTES and a few entries at most.

        A frame is None where an entry has no field `f`.
        """
        (entries,) = await self._run([(self._read, [schema.LOG], [after.log_id, READ_BYTES, READ_ENTRIES])])
        return [(log_id, _frame(fields)) for log_id, fields in entries]

    async def await_entry(self, after: MessageId, block_ms: int) -> None:
        """Return when the log has an entry after the one of `after`, or after `block_ms`. Holds one connection."""
        await self._redis.execute_command(
            "XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", schema.LOG, after.log_id
        )  # fmt: skip

    async def apply_devices(self, writes: Sequence[DeviceWrite], now_ms: int) -> list[MessageId | None]:
        """Apply each write, whole or not at all, in one round trip.

        Returns None for each one applied. Else it has messages that are applied already, or `after` is not applied
        yet: the device's position is returned; leave out the messages up to it and apply the rest.
        """
        settings = self._settings
        limits = [
            settings.history_messages,
            settings.history_bytes,
            now_ms - settings.history_age_s * 1000,
            settings.history_age_s,
            settings.rollup_age_s,
            schema.MAX_FIELDS,
            schema.MAX_TOPICS,
        ]
        answers = await self._run([(self._device, *_device_call(write, limits)) for write in writes])
        return [None if answer is None else _id(answer) for answer in answers]

    async def index_devices(self, last_seen_ms: dict[str, int]) -> None:
        """Enter devices into the indices by last message and by name."""
        ids = list(last_seen_ms)
        pipeline = self._redis.pipeline(transaction=False)
        for start in range(0, len(ids), INDEX_MEMBERS):
            some = ids[start : start + INDEX_MEMBERS]
            pipeline.zadd(schema.DEVICES_SEEN, {device_id: last_seen_ms[device_id] for device_id in some}, gt=True)
            pipeline.zadd(schema.DEVICES_NAMES, dict.fromkeys(some, 0), nx=True)
        await pipeline.execute()

    async def apply_fleet(self, write: FleetWrite, now_ms: int) -> MessageId | None:
        """Add a batch to the totals and move the position of the log past it; the last write of a batch.

        Returns None when applied; else the position, from which the log has to be read again.
        """
        blob = _encode(
            (str(write.after), str(write.first), str(write.last), write.messages, write.payload_bytes, write.entries,
             write.log_bytes, list(write.slots.items()))
        )  # fmt: skip
        limits = [self._settings.log_keep_bytes, now_ms // 1000 - RATE_KEPT_S]
        (answer,) = await self._run([(self._fleet, [schema.FLEET, schema.FLEET_RATE], [blob, *limits])])
        return None if answer is None else _id(answer)

    async def trim_log(self) -> None:
        """Cut off the log's old end: what is projected, but for the last LOG_KEEP_BYTES (at least half of them)."""
        before = await self._redis.hget(schema.FLEET, "trim")
        if before is not None:
            await self._redis.execute_command("XTRIM", schema.LOG, "MINID", "~", _id(before).log_id, "LIMIT", 0)

    async def backlog(self) -> Backlog:
        """Look how much of the log is not projected; the same on every node, whoever projects."""
        fields = await self._redis.hmget(schema.FLEET, ["position", "log_bytes", "trim_bytes"])
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrange(schema.LOG, min=f"({_id(fields[0]).log_id}", count=1)
        pipeline.execute_command("MEMORY USAGE", schema.LOG, "SAMPLES", MEMORY_SAMPLES)
        waiting, used_bytes = await pipeline.execute()
        if not waiting:
            return Backlog(None, 0)
        behind = int(fields[1] or 0) - int(fields[2] or 0)
        return Backlog(int(waiting[0][0].partition(b"-")[0]), max(0, (used_bytes or 0) - behind))

    async def _run(self, calls: Iterable[tuple[Script, list[str], list[Any]]]) -> list[Any]:
        """Run scripts in one round trip; load them first into a store that has forgotten them."""
        calls = list(calls)
        answers = await self._send(calls)
        if any(map(_is_script_unknown, answers)):
            for script in {script.sha: script for script, _, _ in calls}.values():
                await self._redis.script_load(script.source)
            # What was applied the first time is refused the second time.
            answers = await self._send(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise redis.ResponseError(str(answer))
        return answers

    async def _send(self, calls: list[tuple[Script, list[str], list[Any]]]) -> list[Any]:
        await asyncio.wait_for(self._link.wait_up(), UP_TIMEOUT_S)
        commands = [("EVALSHA", script.sha, len(keys), *keys, *arguments) for script, keys, arguments in calls]
        return await self._link.send(commands)


def _is_script_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError) or (isinstance(answer, Exception) and str(answer).startswith("NOSCRIPT"))


def _device_call(write: DeviceWrite, limits: list[int]) -> tuple[list[str], list[Any]]:
    keys = [schema.device(write.device_id, part) for part in ("record", "values", "topics", "history")]
    fields = []
    for path, value, rollups in write.fields:
        numbered = []
        for hour, minutes in rollups.items():
            keys.append(schema.minutes(write.device_id, path, hour))
            numbered.append((len(keys), minutes))
        fields.append((path, _string(value), numbered))
    topics = [(name, _string(state)) for name, state in write.topics]
    chunks = [(chunk.id, _string(chunk.frame), _string(chunk.ids), chunk.messages) for chunk in write.chunks]
    blob = _encode(
        (str(write.after), str(write.first), str(write.last), write.first_ms, write.last_ms, write.messages,
         write.payload_bytes, write.client_id, fields, topics, chunks)
    )  # fmt: skip
    return keys, [blob, *limits]


def _string(binary: bytes) -> msgspec.Raw:
    """Mark bytes as a msgpack string (str 32): the store's cmsgpack does not read binary, and checks no encoding."""
    return msgspec.Raw(b"\xdb" + len(binary).to_bytes(4, "big") + binary)


def _id(text: bytes | None) -> MessageId:
    return START if text is None else MessageId.parse(text.decode())


def _frame(fields: list[bytes]) -> bytes | None:
    return fields[1] if len(fields) > 1 and fields[0] == schema.LOG_FIELD.encode() else None
