"""How much memory Redis uses of what it may: the same reckoning for whoever sheds, refuses or shows it.

Shares are of the budget: the smaller of Redis's own `maxmemory` and STORE_BYTES, of those that are set. In a cluster each
master has its own, and an equal part of STORE_BYTES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio.cluster import RedisCluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

SHED_ABOVE, SHED_TO = 0.80, 0.75
"""History is shed where more than the one share is used, until it is not more than the other."""
REFUSE_ABOVE, ACCEPT_BELOW = 0.95, 0.93
"""Commits wait from the one share on until less than the other is used. What is left is for what makes room: views behind
the log, and answers on their way."""
LOG_SHARE = 0.25
"""Of the log, no more than this part of the budget waits: the views need as much again."""
NEARLY_FULL_ABOVE = 0.90
"""More than this although history is shed: an operator should look. Where nothing is left to shed, views do not grow."""
DEVICES_SHARE = 1 / 3
"""Of the budget, no more than this part is for devices: DEVICE_BYTES for each, and so there is a bound on their number."""
DEVICE_BYTES = 8 * 1024
"""What a device takes that stays: its record, its place in the indices, the newest piece of its history, and
LEAST_STATE_BYTES."""
LEAST_STATE_BYTES, MOST_STATE_BYTES = 4 * 1024, 64 * 1024
"""Bytes of last values and topics (names, values, their places) that one device may have: with many devices, with few."""
STATE_SHARE = 1 / 8
"""Of the devices' part, this part is for state beyond LEAST_STATE_BYTES: divided by the number of devices."""
ONE_SERVER = ""


class Memory(NamedTuple):
    """What one server, or one master of a cluster, uses and may use; `budget_bytes` is 0 where nothing bounds it."""

    used_bytes: int
    budget_bytes: int

    @property
    def share(self) -> float:
        """The part of the budget that is used; 0 without one."""
        return self.used_bytes / self.budget_bytes if self.budget_bytes else 0.0


def memory_of(info: Mapping[str, Any], store_bytes: int, masters: int = 1) -> Memory:
    """Return the memory of a server from its `INFO memory`, `store_bytes` being for `masters` of them together."""
    used_bytes = int(info.get("used_memory", 0)) - int(
        info.get("mem_not_counted_for_evict", 0)
    )  # as Redis itself counts
    bounds = (int(info.get("maxmemory", 0)), store_bytes // masters)
    return Memory(used_bytes, min((bound for bound in bounds if bound), default=0))


def log_bound(memory: Memory, log_max_bytes: int) -> int:
    """Return how much of the log may wait: LOG_MAX_BYTES, but no more than LOG_SHARE of the budget of the log's server."""
    return min(log_max_bytes, int(LOG_SHARE * memory.budget_bytes)) if memory.budget_bytes else log_max_bytes


def devices_bytes(memories: Mapping[str, Memory]) -> int:
    """Return the devices' part of the budget; 0: nothing bounds it."""
    budgets = [memory.budget_bytes for memory in memories.values()]
    return int(DEVICES_SHARE * sum(budgets)) if all(budgets) else 0


def most_devices(memories: Mapping[str, Memory], max_devices: int) -> int:
    """Return how many devices there may be: MAX_DEVICES, and no more than their part of the budget can hold."""
    size_bytes = devices_bytes(memories)
    return min(max_devices, max(1, size_bytes // DEVICE_BYTES)) if size_bytes else max_devices


def most_state_bytes(memories: Mapping[str, Memory], devices: int) -> int:
    """Return how many bytes of last values and topics one of so many devices may have.

    Few devices may have much each, many little: added up over any growth of a fleet, that is less than half of the devices'
    part beyond LEAST_STATE_BYTES each (docs/limits.md).
    """
    size_bytes = devices_bytes(memories)
    part = int(STATE_SHARE * size_bytes / max(1, devices)) if size_bytes else MOST_STATE_BYTES
    return max(LEAST_STATE_BYTES, min(MOST_STATE_BYTES, part))


def fullest(memories: Mapping[str, Memory]) -> Memory:
    """Return the memory of the master that has least room."""
    return max(memories.values(), key=lambda memory: memory.share)


async def memories(client: Redis, store_bytes: int) -> dict[str, Memory]:
    """Return the memory of each master by its name; of a single server by ONE_SERVER. Raises redis.RedisError."""
    if not isinstance(client, RedisCluster):
        return {ONE_SERVER: memory_of(await client.info("memory"), store_bytes)}
    found = await client.info("memory", target_nodes=RedisCluster.PRIMARIES)
    return {name: memory_of(info, store_bytes, len(found)) for name, info in found.items()}


def master_of(client: Redis, key: str) -> str:
    """Return the name of the master that has a key."""
    if not isinstance(client, RedisCluster):
        return ONE_SERVER
    node = client.get_node_from_key(key)
    return node.name if node is not None else ONE_SERVER
