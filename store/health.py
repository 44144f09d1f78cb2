"""How Redis is, and what an operator should change about it (sync reads)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis
from redis.cluster import RedisCluster

from store import schema
from store.answers import StoreStatus
from store.model import MessageId
from store.redis_cluster import ClusterClient

if TYPE_CHECKING:
    from redis import Redis

MEMORY_WARNING = 0.8
NO_PERSISTENCE = "Redis keeps nothing on disk: a restart of it loses everything. Turn on AOF (or at least RDB)."
NEARLY_FULL = "Redis uses more than 80 % of its memory: when it is full, no message can be stored."


def store_status(client: Redis, now_ms: int) -> StoreStatus:
    """Return version, memory, lag of the views and warnings; what the server does not tell is left out."""
    servers = _servers(client)
    used_bytes = [int(info.get("used_memory", 0)) for info in servers]
    max_bytes = [int(info.get("maxmemory", 0)) for info in servers]
    save = _config(client, "save")
    lag_ms, lag_entries = _lag(client, now_ms)
    return StoreStatus(
        version=str(servers[0].get("valkey_version") or servers[0].get("redis_version", "")),
        used_bytes=sum(used_bytes),
        max_bytes=sum(max_bytes) if all(max_bytes) else 0,
        lag_ms=lag_ms,
        lag_entries=lag_entries,
        warnings=list(dict.fromkeys(warning for info in servers for warning in _warnings(info, save))),
    )


def _servers(client: Redis) -> list[dict[str, Any]]:
    """Return what the server says of itself, or each master of a cluster."""
    if isinstance(client, ClusterClient):
        return list(client.info(target_nodes=RedisCluster.PRIMARIES).values())
    info: Any = client.info()
    return [info]


def _warnings(info: dict[str, Any], save: str | None) -> list[str]:
    used_bytes, max_bytes = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    warnings = []
    if not int(info.get("aof_enabled", 0)) and save == "":
        warnings.append(NO_PERSISTENCE)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if max_bytes and policy != "noeviction":
        warnings.append(
            f"Redis may throw data away when its memory is full ({policy}): set noeviction, not cache mode."
        )
    if max_bytes and used_bytes > MEMORY_WARNING * max_bytes:
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
