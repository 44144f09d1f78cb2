"""This node: an id that is new at every start, and the heartbeat that says it lives and how it does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import redis.exceptions

from store import schema
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

    from broker.cluster.presence import NodePresence

log = logging.getLogger(__name__)

PRESENCE_WRITE_S = 0.2
SUMMED = ("connections", "sessions", "subscriptions", "messages_received", "messages_delivered", "messages_dropped")

HEARTBEAT = load_script("heartbeat")


def new_node_id() -> str:
    """Return an id that no earlier incarnation had."""
    return uuid4().hex[:12]


class Node:
    """Writes heartbeat and presence to the store until cancelled, whatever the store does meanwhile."""

    def __init__(
        self,
        node_id: str,
        redis: Redis,
        presence: NodePresence,
        describe: Callable[[], Mapping[str, str | int]],
        wall_ms: Callable[[], int],
    ) -> None:
        self._node_id = node_id
        self._redis = redis
        self._presence = presence
        self._describe = describe
        self._wall_ms = wall_ms
        self._next_beat = 0.0

    async def run(self) -> None:
        """Beat every HEARTBEAT_S, write presence a few times a second."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() >= self._next_beat:
                    await self._beat()
                    self._next_beat = loop.time() + schema.HEARTBEAT_S
                await self._presence.write(self._redis)
            except redis.exceptions.RedisError as error:
                log.debug("Heartbeat not written: %s", error)
                self._presence.rewrite()
            await asyncio.sleep(PRESENCE_WRITE_S)

    async def leave(self) -> None:
        """Say that this node is gone, so that nobody waits for its heartbeat to expire."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.zrem(schema.NODES, self._node_id)
                pipeline.delete(schema.node_info(self._node_id), schema.presence(self._node_id))
                await pipeline.execute()
        except redis.exceptions.RedisError as error:
            log.debug("Leave not written: %s", error)

    async def _beat(self) -> None:
        info, now_ms = schema.node_info(self._node_id), self._wall_ms()
        async with self._redis.pipeline(transaction=False) as pipeline:
            forget_ms = now_ms - schema.NODE_TTL_S * 10_000
            described = (each for pair in self._describe().items() for each in pair)
            pipeline.execute_command(
                "EVAL", HEARTBEAT.source, 2, schema.NODES, info, self._node_id, now_ms, forget_ms, schema.NODE_TTL_S, *described
            )  # fmt: skip
            pipeline.expire(schema.presence(self._node_id), schema.NODE_TTL_S)
            *_, had_presence = await pipeline.execute()
        if not had_presence:
            self._presence.rewrite()


async def cluster_totals(redis: Redis, wall_ms: Callable[[], int]) -> dict[str, int]:
    """Return how many nodes live, and the sums of what they say of themselves. Raises redis.RedisError."""
    since_ms = wall_ms() - schema.NODE_TTL_S * 1000
    alive: list[Any] = await redis.zrangebyscore(schema.NODES, since_ms, "+inf")
    async with redis.pipeline(transaction=False) as pipeline:
        for node_id in alive:
            pipeline.hmget(schema.node_info(node_id.decode()), list(SUMMED))
        rows = await pipeline.execute()
    sums = {name: sum(_number(row[place]) for row in rows) for place, name in enumerate(SUMMED)}
    return {"nodes": len(alive), **sums}


def _number(stored: bytes | None) -> int:
    """Return a count that a node has stored; 0 for what is none: nothing that is stored may end this process."""
    return int(stored) if stored is not None and stored.isdigit() and len(stored) < 20 else 0
