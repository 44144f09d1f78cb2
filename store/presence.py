"""Who is connected, and which nodes are alive (sync reads; the broker writes these keys).

A device is connected if it is in the presence of a node whose heartbeat is not older than NODE_TTL_S.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.answers import NodeStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

_KNOWN_INFO = ("container", "version", "started_ms", "connections", "messages_received")


def live_nodes(client: Redis, now_ms: int) -> dict[str, int]:
    """Return the nodes that are alive, by the time of their last heartbeat (ms)."""
    rows: Any = client.zrangebyscore(schema.NODES, now_ms - schema.NODE_TTL_S * 1000, "+inf", withscores=True)
    return {node.decode(): int(heartbeat) for node, heartbeat in rows}


def nodes(client: Redis, now_ms: int) -> list[NodeStatus]:
    """Return what each live node says of itself, by node id."""
    alive = live_nodes(client, now_ms)
    pipeline = client.pipeline(transaction=False)
    for node in alive:
        pipeline.hgetall(schema.node_info(node))
    return sorted(
        (_status(node, alive[node], info) for node, info in zip(alive, pipeline.execute(), strict=True)),
        key=lambda status: status.id,
    )


def online_count(client: Redis, now_ms: int) -> int:
    """Return the number of connections that devices hold; a device at two nodes counts twice."""
    pipeline = client.pipeline(transaction=False)
    for node in live_nodes(client, now_ms):
        pipeline.zcard(schema.presence(node))
    return sum(pipeline.execute())


def connected_since(client: Redis, now_ms: int, device_ids: Sequence[str]) -> list[int | None]:
    """Return since when each device is connected (ms); None for one that is not."""
    if not device_ids:
        return []
    pipeline = client.pipeline(transaction=False)
    for node in live_nodes(client, now_ms):
        pipeline.zmscore(schema.presence(node), list(device_ids))
    since: list[int | None] = [None] * len(device_ids)
    for scores in pipeline.execute():
        for index, score in enumerate(scores):
            if score is not None:
                since[index] = max(since[index] or 0, int(score))
    return since


def _status(node: str, heartbeat_ms: int, info: dict[bytes, bytes]) -> NodeStatus:
    fields = {name.decode(): value.decode(errors="replace") for name, value in info.items()}
    return NodeStatus(
        id=node,
        container=fields.get("container", ""),
        version=fields.get("version", ""),
        started_ms=_number(fields, "started_ms"),
        heartbeat_ms=heartbeat_ms,
        connections=_number(fields, "connections"),
        messages_received=_number(fields, "messages_received"),
        info={name: value for name, value in fields.items() if name not in _KNOWN_INFO},
    )


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0
