"""The way of scripts whose keys lie all over the store: one link to one server, or in a cluster one client of all masters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from store.address import parse_address
from store.link import StoreLink

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from settings import Settings
    from store.link import Replies


class ClusterLink:
    """Stands where a StoreLink does that only runs scripts: sends each to the master that has its first key."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def run(self) -> None:
        """Do nothing: the client connects by itself."""

    async def wait_up(self) -> None:
        """Return at once: the client looks for masters when it has something to send."""

    async def send(self, commands: list[tuple[Any, ...]]) -> Replies:
        """Send EVALSHA commands and return their replies, errors among them. Raises redis.RedisError."""
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: Replies = await pipeline.execute(raise_on_error=False)
        return replies


def views_link(client: Redis, settings: Settings) -> StoreLink | ClusterLink:
    """Return the way of the views' scripts into the store of `settings`, of which `client` is a client too."""
    if parse_address(settings.redis_url).kind == "cluster":
        return ClusterLink(client)
    return StoreLink(settings.redis_url, log_level=logging.DEBUG)  # what it meets, whoever sends says once
