"""What the store still has of nodes that are gone, and where its records of who serves whom disagree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import redis

from store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE_ID = re.compile("[0-9a-f]{12}")
FOR_EVER = -1


def leftovers(url: str) -> list[str]:
    """Return a line for each record that should not be there; what expires by itself may be."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        members = set(client.zrange(schema.MEMBERS, 0, -1))
        return [*_of_the_dead(client, members), *_disagreements(client, members)]


def _of_the_dead(client: redis.Redis, members: set[str]) -> Iterator[str]:
    for key in client.scan_iter(count=1000):
        node_id = key.rpartition(":")[2]
        if NODE_ID.fullmatch(node_id) and node_id not in members and client.ttl(key) == FOR_EVER:
            yield f"{key}: that node is gone"
    for node_id in client.smembers(schema.DEAD):
        yield f"nobody has adopted the clients of {node_id}"


def _disagreements(client: redis.Redis, members: set[str]) -> Iterator[str]:
    owners = client.hgetall(schema.OWNERS)
    owned = {node_id: client.smembers(schema.of_node("owned", node_id)) for node_id in members}
    for client_id, node_id in owners.items():
        if client_id not in owned.get(node_id, ()):
            yield f"{node_id} does not know that it owns {client_id}"
    for node_id, client_ids in owned.items():
        for client_id in client_ids:
            if owners.get(client_id) != node_id:
                yield f"{node_id} believes that it owns {client_id}, which {owners.get(client_id)} does"
        for will in client.hkeys(schema.of_node("wills", node_id)):
            if will.startswith("d:"):
                yield f"{node_id} has not published the will {will}"
