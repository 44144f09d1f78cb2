"""How much of the ingest log is still needed, and by whom; cut off what is not (async). One projector cuts, every broker looks.

    old end |------ kept for live pages ------| views' position ------| new end
            ^ `trim`, a mark at least half of LOG_KEEP_BYTES behind the views

The log is cut before `trim`, or before what an outlet that holds the log has not taken, where that is older. Other
outlets have until the log has half of what it may have (`memory.log_bound`); then it goes on without them, and what goes
by them is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from store import schema
from store.memory import log_bound, master_of, memories
from store.model import START, MessageId
from store.outlet_state import HOLDING_OUTLETS, outlet_names
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink

MEMORY_SAMPLES = 1000  # stream nodes that MEMORY USAGE looks at; about 1 ms at most
CUT_BYTES = 4 * 1024 * 1024  # read by one script: a few milliseconds


class Backlog(NamedTuple):
    """What waits in the log: when the oldest entry was committed that the views do not show (None: they show all), and
    how many bytes, about, the views do not show or an outlet that holds the log has not taken.
    """

    oldest_ms: int | None
    bytes: int


class LogTrimming:
    """The log of one store. Every method raises redis.RedisError or OSError when the store does not answer."""

    def __init__(self, client: Redis, settings: Settings, link: StoreLink | ClusterLink) -> None:
        self._redis: Any = client  # redis-py types a command for both of its kinds of client at once
        self._run = ScriptRunner(client, link).run
        self._cut = load_script("position", "cut")
        names = outlet_names(settings)
        self._holding = [name for name in names if name in HOLDING_OUTLETS]
        self._others = [name for name in names if name not in HOLDING_OUTLETS]
        self._settings = settings

    async def backlog(self) -> Backlog:
        """Look how much waits; the same on every node, whoever projects."""
        fields = await self._redis.hmget(schema.FLEET, ["position", "log_bytes", "trim_bytes", "trim"])
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrange(schema.LOG, min=f"({_id(fields[0]).log_id}", count=1)
        pipeline.execute_command("MEMORY USAGE", schema.LOG, "SAMPLES", MEMORY_SAMPLES)
        waiting, used_bytes = await pipeline.execute()
        oldest_ms = int(waiting[0][0].partition(b"-")[0]) if waiting else None
        used_bytes = used_bytes or 0
        if await self._first_needed(self._holding, _id(fields[3])) < _id(fields[3]):
            return Backlog(oldest_ms, used_bytes)  # so far as it can be cut, it is cut
        behind = int(fields[1] or 0) - int(fields[2] or 0)
        return Backlog(oldest_ms, max(0, used_bytes - behind) if waiting else 0)

    async def trim(self) -> None:
        """Cut off the log's old end, so far as nobody needs it."""
        trim = _id(await self._redis.hget(schema.FLEET, "trim"))
        before = await self._first_needed(self._holding, trim)
        needed = await self._first_needed(self._others, before)
        await self._redis.execute_command("XTRIM", schema.LOG, "MINID", "~", needed.log_id, "LIMIT", 0)
        if needed < before:
            await self._go_on_without_others(before)

    async def _go_on_without_others(self, before: MessageId) -> None:
        """Cut what only other outlets need, the oldest first, until the log has no more than their share."""
        used_bytes = await self._redis.execute_command("MEMORY USAGE", schema.LOG, "SAMPLES", MEMORY_SAMPLES)
        keys = [schema.LOG, *(schema.outlet(name) for name in self._others)]
        memory = (await memories(self._redis, self._settings.store_bytes))[master_of(self._redis, schema.LOG)]
        too_many = (used_bytes or 0) - log_bound(memory, self._settings.log_max_bytes) // 2
        while too_many > 0:
            (cut_bytes,) = await self._run([(self._cut, keys, [before.log_id, min(too_many, CUT_BYTES)])])
            if not cut_bytes:
                return
            too_many -= cut_bytes

    async def _first_needed(self, outlets: Iterable[str], otherwise: MessageId) -> MessageId:
        """Return where the outlet that is furthest behind stands, where that is before `otherwise`."""
        positions = [_id(await self._redis.hget(schema.outlet(name), "position")) for name in outlets]
        return min([otherwise, *positions])


def _id(text: bytes | None) -> MessageId:
    return START if text is None else MessageId.parse(text.decode())
