"""Which devices are connected at this node (design: presence is right seconds after a node was killed).

A device is connected while the client that speaks for it is: the client of the same name, or the one that publishes to its
topics (a field gateway speaks for many). The set lives in Redis under the node's own key, which expires with the node's
heartbeat: what a killed node leaves behind goes away by itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.accounts import Account, Holder
from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from store.model import DeviceNaming

MAX_DEVICES_PER_CLIENT = 10_000
DEVICE_BYTES = 400
"""What a device takes that a client speaks for, besides its name: places in three dictionaries and sets, and a time."""


CHANGE_BYTES = 100  # of a device that has come or gone since the last write, besides its name
WRITTEN_AT_ONCE = 5000


class _Speaker:
    """A connected client that speaks for devices."""

    __slots__ = ("devices", "names")

    def __init__(self, names: Account) -> None:
        self.devices: set[str] = set()
        self.names = Holder(names)


class NodePresence:
    """Collects what changes and writes it in one pipeline, a few times a second.

    Names are charged to `names`. Where that refuses, a device is not shown as connected because of this client; and where
    the store is away for so long that the changes do not fit, all is written anew.
    """

    def __init__(self, node_id: str, naming: DeviceNaming, wall_ms: Callable[[], int], names: Account) -> None:
        self._key = schema.presence(node_id)
        self._naming = naming
        self._wall_ms = wall_ms
        self._names = names
        self._speakers: dict[str, _Speaker | None] = {}  # by client id; None: for no device yet
        self._spoken_for: dict[str, int] = {}  # by device: by how many clients
        self._since: dict[str, int] = {}
        self._changed: set[str] = set()
        self._changes = Holder(names)
        self._is_unknown = False
        self._unproven: set[str] = set()

    def connected(self, client_id: str) -> None:
        """Note a client; it counts as a device once it has published under its own name, now or before."""
        self._speakers.setdefault(client_id, None)
        self._unproven.add(client_id)

    def published(self, client_id: str, topic_name: str) -> None:
        """Note that a connected client speaks for a device."""
        self._add(client_id, self._naming.device_of(topic_name, client_id))

    def disconnected(self, client_id: str) -> None:
        """Forget a client and the devices that only it spoke for."""
        self._unproven.discard(client_id)
        speaker = self._speakers.pop(client_id, None)
        if speaker is None:
            return
        speaker.names.refund_all()
        for device_id in speaker.devices:
            self._spoken_for[device_id] -= 1
            if not self._spoken_for[device_id]:
                del self._spoken_for[device_id], self._since[device_id]
                self._change(device_id)

    def _add(self, client_id: str, device_id: str) -> None:
        if client_id not in self._speakers:
            return
        speaker = self._speakers[client_id]
        if speaker is None:
            speaker = _Speaker(self._names)
        devices = speaker.devices
        if device_id in devices or len(devices) >= MAX_DEVICES_PER_CLIENT:
            return
        if not speaker.names.charge(sys.getsizeof(device_id) + DEVICE_BYTES):
            return
        self._speakers[client_id] = speaker
        devices.add(device_id)
        self._spoken_for[device_id] = self._spoken_for.get(device_id, 0) + 1
        if device_id not in self._since:
            self._since[device_id] = self._wall_ms()
            self._change(device_id)

    def _change(self, device_id: str) -> None:
        if self._is_unknown or device_id in self._changed:
            return
        if self._changes.charge(sys.getsizeof(device_id) + CHANGE_BYTES):
            self._changed.add(device_id)
        else:
            self._forget_changes()
            self._is_unknown = True

    def _forget_changes(self) -> None:
        self._changed.clear()
        self._changes.refund_all()

    async def write(self, redis: Redis) -> None:
        """Bring the store up to date with what changed. Raises redis.RedisError; what failed is tried with the next call."""
        await self._prove(redis)
        if self._is_unknown:
            await self._write_all(redis)
            return
        changed = list(self._changed)
        if not changed:
            return
        added = {device_id: self._since[device_id] for device_id in changed if device_id in self._since}
        removed = [device_id for device_id in changed if device_id not in self._since]
        async with redis.pipeline(transaction=False) as pipeline:
            if added:
                pipeline.zadd(self._key, added)
            if removed:
                pipeline.zrem(self._key, *removed)
            pipeline.expire(self._key, schema.NODE_TTL_S)
            self._forget_changes()
            try:
                await pipeline.execute()
            except BaseException:
                for device_id in changed:
                    self._change(device_id)
                raise

    async def _write_all(self, redis: Redis) -> None:
        """Replace what the store has: too much has changed since it was reached last."""
        self._is_unknown = False
        devices = list(self._since.items())
        try:
            async with redis.pipeline(transaction=False) as pipeline:
                pipeline.delete(self._key)
                for start in range(0, len(devices), WRITTEN_AT_ONCE):
                    pipeline.zadd(self._key, dict(devices[start : start + WRITTEN_AT_ONCE]))
                pipeline.expire(self._key, schema.NODE_TTL_S)
                await pipeline.execute()
        except BaseException:
            self._forget_changes()
            self._is_unknown = True
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
        self._forget_changes()
        self._is_unknown = True
