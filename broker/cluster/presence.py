"""Which devices are connected at this node (design: presence is right seconds after a node was killed).

A device is connected while the client that speaks for it is: the client of the same name, or the one that publishes to its
topics (a field gateway speaks for many). The set lives in Redis under the node's own key, which expires with the node's
heartbeat: what a killed node leaves behind goes away by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from store.model import DeviceNaming

MAX_DEVICES_PER_CLIENT = 10_000


class NodePresence:
    """Collects what changes and writes it in one pipeline, a few times a second."""

    def __init__(self, node_id: str, naming: DeviceNaming, wall_ms: Callable[[], int]) -> None:
        self._key = schema.presence(node_id)
        self._naming = naming
        self._wall_ms = wall_ms
        self._devices_of: dict[str, set[str]] = {}
        self._since: dict[str, int] = {}
        self._speakers: dict[str, int] = {}
        self._changed: set[str] = set()
        self._unproven: set[str] = set()

    def connected(self, client_id: str) -> None:
        """Note a client; it counts as a device once it has published under its own name, now or before."""
        self._devices_of.setdefault(client_id, set())
        self._unproven.add(client_id)

    def published(self, client_id: str, topic_name: str) -> None:
        """Note that a connected client speaks for a device."""
        self._add(client_id, self._naming.device_of(topic_name, client_id))

    def disconnected(self, client_id: str) -> None:
        """Forget a client and the devices that only it spoke for."""
        self._unproven.discard(client_id)
        for device_id in self._devices_of.pop(client_id, ()):
            self._speakers[device_id] -= 1
            if not self._speakers[device_id]:
                del self._speakers[device_id], self._since[device_id]
                self._changed.add(device_id)

    def _add(self, client_id: str, device_id: str) -> None:
        devices = self._devices_of.get(client_id)
        if devices is None or device_id in devices or len(devices) >= MAX_DEVICES_PER_CLIENT:
            return
        devices.add(device_id)
        self._speakers[device_id] = self._speakers.get(device_id, 0) + 1
        if device_id not in self._since:
            self._since[device_id] = self._wall_ms()
            self._changed.add(device_id)

    async def write(self, redis: Redis) -> None:
        """Bring the store up to date with what changed. Raises redis.RedisError; what failed is tried with the next call."""
        await self._prove(redis)
        changed, self._changed = self._changed, set()
        if not changed:
            return
        added = {device_id: self._since[device_id] for device_id in changed if device_id in self._since}
        removed = [device_id for device_id in changed if device_id not in self._since]
        try:
            async with redis.pipeline(transaction=False) as pipeline:
                if added:
                    pipeline.zadd(self._key, added)
                if removed:
                    pipeline.zrem(self._key, *removed)
                pipeline.expire(self._key, schema.NODE_TTL_S)
                await pipeline.execute()
        except BaseException:
            self._changed |= changed
            raise

    async def _prove(self, redis: Redis) -> None:
        if not self._unproven:
            return
        asked = list(self._unproven)
        async with redis.pipeline(transaction=False) as pipeline:
            for client_id in asked:
                pipeline.exists(schema.device(client_id, "record"))
            answers = await pipeline.execute()
        for client_id, is_device in zip(asked, answers, strict=True):
            self._unproven.discard(client_id)
            if is_device:
                self._add(client_id, client_id)

    def rewrite(self) -> None:
        """Write everything with the next `write`: the key had expired (this process was stopped for a while)."""
        self._changed |= set(self._since)
