"""How Redis is, and what an operator should change about it (sync reads)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis
from redis.cluster import RedisCluster

from store import schema
from store.answers import StoreStatus
from store.memory import NEARLY_FULL_ABOVE, REFUSE_ABOVE, Memory, memory_of
from store.model import MessageId
from store.redis_cluster import ClusterClient

if TYPE_CHECKING:
    from redis import Redis

NO_PERSISTENCE = "Redis keeps nothing on disk: a restart of it loses everything. Turn on AOF (or at least RDB)."
NEARLY_FULL = (
    "Redis uses more than 90 % of its memory although old history is shed: when it is full, no message can be stored."
)
FULL = (
    "Redis is full: messages are not acknowledged until there is room; devices keep them and send them again. "
    "Raise its memory, or shorten what is kept."
)
PROBE = "{log}:probe"  # never there; where commits go, in a cluster as well
REFUSALS = {
    "READONLY": "Redis is a read-only replica",
    "NOREPLICAS": "Redis has fewer replicas than its min-replicas-to-write",
    "MISCONF": "Redis cannot save to its disk and takes no writes until it can",
    "NOPERM": "Redis does not permit this user to write",
}


def refusal(client: Redis) -> str:
    """Return why Redis takes no writes; "" where it does. Raises redis.RedisError while it does not answer.

    Asked by a write that changes nothing: no other answer covers every reason. A full Redis takes this one.
    """
    try:
        client.delete(PROBE)
    except redis.ReadOnlyError:
        return REFUSALS["READONLY"]
    except redis.exceptions.NoPermissionError:
        return REFUSALS["NOPERM"]
    except redis.ResponseError as error:
        code = str(error).partition(" ")[0]
        if code not in REFUSALS:
            raise
        return REFUSALS[code]
    return ""


def store_status(client: Redis, store_bytes: int, now_ms: int) -> StoreStatus:
    """Return version, memory, lag of the views and warnings; what the server does not tell is left out.

    `store_bytes`: the setting STORE_BYTES, for all masters of a cluster together.
    """
    servers = _servers(client)
    memories = [memory_of(info, store_bytes, len(servers)) for info in servers]
    whole, save = _together(memories), _config(client, "save")
    refused = refusal(client)
    lag_ms, lag_entries = _lag(client, now_ms)
    return StoreStatus(
        version=str(servers[0].get("valkey_version") or servers[0].get("redis_version", "")),
        used_bytes=whole.used_bytes,
        max_bytes=whole.budget_bytes,
        lag_ms=lag_ms,
        lag_entries=lag_entries,
        warnings=[f"{refused}: no message is acknowledged until it takes writes."] * bool(refused)
        + list(
            dict.fromkeys(
                warning
                for info, memory in zip(servers, memories, strict=True)
                for warning in _warnings(info, memory, save)
            )
        ),
    )


def memory(client: Redis, store_bytes: int) -> Memory:
    """Return the memory of all masters together. Raises redis.RedisError."""
    servers = _servers(client, "memory")
    return _together([memory_of(info, store_bytes, len(servers)) for info in servers])


def fullest_memory(client: Redis, store_bytes: int) -> Memory:
    """Return the memory of the master that has least room. Raises redis.RedisError."""
    servers = _servers(client, "memory")
    return max((memory_of(info, store_bytes, len(servers)) for info in servers), key=lambda memory: memory.share)


def _together(memories: list[Memory]) -> Memory:
    budgets = [each.budget_bytes for each in memories]
    return Memory(sum(each.used_bytes for each in memories), sum(budgets) if all(budgets) else 0)


def _servers(client: Redis, section: str | None = None) -> list[dict[str, Any]]:
    """Return what the server says of itself, or each master of a cluster."""
    if isinstance(client, ClusterClient):
        return list(client.info(section, target_nodes=RedisCluster.PRIMARIES).values())
    info: Any = client.info(section)
    return [info]


def _warnings(info: dict[str, Any], memory: Memory, save: str | None) -> list[str]:
    max_bytes = int(info.get("maxmemory", 0))
    warnings = []
    if not int(info.get("aof_enabled", 0)) and save == "":
        warnings.append(NO_PERSISTENCE)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if max_bytes and policy != "noeviction":
        warnings.append(
            f"Redis may throw data away when its memory is full ({policy}): set noeviction, not cache mode."
        )
    if memory.share > REFUSE_ABOVE:
        warnings.append(FULL)
    elif memory.share > NEARLY_FULL_ABOVE:
        warnings.append(NEARLY_FULL)
    return warnings


def _config(client: Redis, name: str) -> str | None:
    """Return one value of the configuration; None where reading it is not permitted."""
    with contextlib.suppress(redis.ResponseError):
        values: Any = client.config_get(name)
        return {_text(key): _text(value) for key, value in values.items()}.get(name)
    return None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _lag(client: Redis, now_ms: int) -> tuple[int, int]:
    fields: Any = client.hmget(schema.FLEET, ["position", "entries"])
    position = MessageId.parse((fields[0] or b"0-0").decode())
    waiting: Any = client.xrange(schema.LOG, f"({position.log_id}", "+", 1)
    if not waiting:
        return 0, 0
    added = client.xinfo_stream(schema.LOG).get("entries-added", 0)
    oldest_ms = int(waiting[0][0].partition(b"-")[0])
    return max(0, now_ms - oldest_ms), max(1, added - int(fields[1] or 0))
