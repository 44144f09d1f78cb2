"""The `$SYS` topics: the broker's own state, published every few seconds under the names that Mosquitto has for it.

Messages are PUBLISH packets: `messages/received`, `messages/sent` and `messages/dropped` are what Mosquitto calls
`publish/messages/…`, and are published under both names. Mosquitto's own `messages/sent` counts packets of every type.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import redis

import broker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.bounds import Bounds
    from broker.cluster.store_refusal import StoreRefusal
    from broker.commit.committer import Committer
    from broker.commit.room import Room
    from broker.net.server import Server
    from broker.session.message_broker import MessageBroker

INTERVAL_S = 10.0
TOTALS = {
    "nodes": "nodes",
    "connections": "clients/connected",
    "sessions": "clients/total",
    "subscriptions": "subscriptions/count",
    "messages_received": "messages/received",
    "messages_delivered": "messages/sent",
    "messages_dropped": "messages/dropped",
}
"""Names under `$SYS/cluster/` of what nodes say of themselves, summed over all."""


class SysTopics:
    """Publishes the `$SYS/broker/…` values of this node, and `$SYS/cluster/…` of all nodes."""

    def __init__(
        self,
        message_broker: MessageBroker,
        committer: Committer,
        server: Server,
        room: Room,
        bounds: Bounds,
        refusal: StoreRefusal,
        lag_ms: Callable[[], int],
        started_ms: int,
        cluster_totals: Callable[[], Awaitable[dict[str, int]]],
    ) -> None:
        self._broker = message_broker
        self._committer = committer
        self._server = server
        self._room = room
        self._bounds = bounds
        self._refusal = refusal
        self._lag_ms = lag_ms
        self._started_ms = started_ms
        self._cluster_totals = cluster_totals

    async def run(self) -> None:
        """Publish now and every INTERVAL_S."""
        while True:
            self._broker.publish_sys({f"$SYS/broker/{name}": value for name, value in self._values().items()})
            with contextlib.suppress(redis.RedisError):
                totals = await self._cluster_totals()
                self._broker.publish_sys({f"$SYS/cluster/{TOTALS[name]}": value for name, value in totals.items()})
            await asyncio.sleep(INTERVAL_S)

    def _values(self) -> dict[str, object]:
        counters, sessions = self._broker.counters, len(self._broker.sessions)
        messages = {
            "received": counters.messages_received,
            "sent": counters.messages_delivered,
            "dropped": counters.messages_dropped + self._committer.dropped,
        }
        connected = sum(1 for connection in self._server.connections if connection.client.session is not None)
        return {
            "version": f"iot-mqtt-broker {broker.__version__}",
            "uptime": f"{(self._broker.wall_ms() - self._started_ms) // 1000} seconds",
            "clients/connected": connected,
            "clients/disconnected": max(0, sessions - connected),
            "clients/total": sessions,
            "subscriptions/count": self._broker.tree.count - self._broker.routes.count,
            **{f"messages/{name}": value for name, value in messages.items()},
            **{f"publish/messages/{name}": value for name, value in messages.items()},
            "store/lag": self._lag_ms(),
            "store/backlog": self._committer.backlog_bytes,
            "store/memory/used": self._room.memory.used_bytes,
            "store/memory/maximum": self._room.memory.budget_bytes,
            "store/state": self._store_state(),
            **self._bounds.sys_values(),
            **self._broker.refusals.sys_values(),
        }

    def _store_state(self) -> str:
        if self._room.is_full:
            return "full: nothing is acknowledged until there is room"
        if refusal := self._refusal.reason or self._committer.refusal.partition(" script: ")[0]:
            return f"not accepting: {refusal}"
        if self._committer.is_store_failing:
            return "failing: nothing is acknowledged until it stores again"
        return "ok"
