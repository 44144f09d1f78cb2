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
DEVICE_BYTES = 200
"""What a device takes that a client speaks for, besides its name: places in dictionaries and sets, and a time."""
CHANGE_BYTES = 100  # of a device that has come or gone since the last write, besides its name
WRITTEN_AT_ONCE = 5000


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
        self._spoken_for: dict[str, str | set[str]] = {}  # by client id; most speak for one device, or for none yet: ""
        self._held_bytes: dict[str, int] = {}  # of those that speak for several
        self._since: dict[str, int] = {}
        self._other_speakers: dict[str, int] = {}  # by device: how many clients speak for it besides one
        self._changed: set[str] = set()
        self._changes = Holder(names)
        self._is_unknown = False
        self._unproven: set[str] = set()

    def connected(self, client_id: str) -> None:
        """Note a client; it counts as a device once it has published under its own name, now or before."""
        self._spoken_for.setdefault(client_id, "")
        self._unproven.add(client_id)

    def published(self, client_id: str, topic_name: str) -> None:
        """Note that a connected client speaks for a device."""
        self._add(client_id, self._naming.device_of(topic_name, client_id))

    def disconnected(self, client_id: str) -> None:
        """Forget a client and the devices that only it spoke for."""
        self._unproven.discard(client_id)
        self._held_bytes.pop(client_id, None)
        devices = self._spoken_for.pop(client_id, "")
        for device_id in devices if isinstance(devices, set) else (devices,) if devices else ():
            self._names.refund(_size_of(device_id))
            others = self._other_speakers.pop(device_id, 0)
            if others > 1:
                self._other_speakers[device_id] = others - 1
            elif not others:
                del self._since[device_id]
                self._change(device_id)

    def _add(self, client_id: str, device_id: str) -> None:
        devices = self._spoken_for.get(client_id)
        if devices is None or device_id == devices or (isinstance(devices, set) and device_id in devices):
            return
        if not self._has_room(client_id, devices, device_id):
            return
        if isinstance(devices, set):
            devices.add(device_id)
        else:
            self._spoken_for[client_id] = {devices, device_id} if devices else device_id
        if device_id in self._since:
            self._other_speakers[device_id] = self._other_speakers.get(device_id, 0) + 1
        else:
            self._since[device_id] = self._wall_ms()
            self._change(device_id)

    def _has_room(self, client_id: str, devices: str | set[str], device_id: str) -> bool:
        if isinstance(devices, set) and len(devices) >= MAX_DEVICES_PER_CLIENT:
            return False
        size_bytes = _size_of(device_id)
        held_bytes = self._held_bytes.get(client_id, 0) or (_size_of(devices) if isinstance(devices, str) else 0)
        if not self._names.charge(size_bytes, held_bytes):
            return False
        if devices:
            self._held_bytes[client_id] = held_bytes + size_bytes
        return True

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


def _size_of(device_id: str) -> int:
    return sys.getsizeof(device_id) + DEVICE_BYTES
