"""Note how far an outlet of the log is, for `outlet_state` to read (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.model import START, MessageId
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from store.cluster_link import ClusterLink
    from store.link import StoreLink
    from store.outlet_state import OutletSize

MAX_ERROR_LENGTH = 300


class OutletProgress:
    """One outlet's. Every method raises redis.RedisError or OSError when the store does not answer."""

    def __init__(self, client: Redis, link: StoreLink | ClusterLink, name: str) -> None:
        self._redis: Any = client
        self._run = ScriptRunner(client, link).run
        self._key = schema.outlet(name)
        self._outlet = load_script("position", "outlet")

    async def position(self) -> MessageId:
        """Return up to which message the log is written; START if nothing is."""
        stored = await self._redis.hget(self._key, "position")
        return START if stored is None else MessageId.parse(stored.decode())

    async def wrote(self, position: MessageId, messages: int, size: OutletSize, now_ms: int) -> None:
        """Note that the log is written up to `position`, which only moves forward: `messages` more than before."""
        await self._say(position, messages, "", size, now_ms)

    async def lost(self, messages: int) -> None:
        """Note that the outlet will never have some messages, though the log is written past them."""
        await self._redis.hincrby(self._key, "lost", messages)

    async def failed(self, error: str, size: OutletSize, now_ms: int) -> None:
        """Note why nothing is written now."""
        await self._say(START, 0, error[:MAX_ERROR_LENGTH], size, now_ms)

    async def _say(self, position: MessageId, messages: int, error: str, size: OutletSize, now_ms: int) -> None:
        await self._run([(self._outlet, [self._key], [str(position), messages, error, now_ms, *size])])
