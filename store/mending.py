"""Set views right that do not show what they should (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from store import schema
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from store.cluster_link import ClusterLink
    from store.link import StoreLink


class Change(NamedTuple):
    """A command on one of a device's keys."""

    name: str
    key: str
    arguments: tuple[Any, ...]


class Mender:
    """Changes the views of one store. Every method raises redis.RedisError or OSError when the store does not do it."""

    def __init__(self, client: Redis, link: StoreLink | ClusterLink) -> None:
        self._run = ScriptRunner(client, link).run
        self._mend = load_script("mend")

    async def mend(self, device_id: str, position: bytes, messages: bytes, changes: Sequence[Change]) -> bool:
        """Make all changes of a device at once; False, and none is made, if it is not as it was read any more."""
        keys = [schema.device(device_id, "record"), *dict.fromkeys(change.key for change in changes)]
        arguments: list[Any] = [position, messages]
        for name, key, more in changes:
            arguments += (name, keys.index(key, 1) + 1, len(more), *more)
        (done,) = await self._run([(self._mend, keys, arguments)])
        return bool(done)
