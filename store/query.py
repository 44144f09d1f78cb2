"""The questions of the dashboard, each with a bounded answer (sync; `views` writes what is read here).

No question scans messages or the key space. Every method raises redis.RedisError while the store does not answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis

from store import health, history, live, presence, schema
from store.answers import FleetCounts
from store.connection import connect
from store.devices import DeviceReader
from store.model import DeviceNaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from settings import Settings
    from store.answers import (
        Device,
        DeviceSummary,
        LiveMessages,
        NodeStatus,
        Page,
        SeriesPoint,
        Status,
        StoredMessage,
        StoreStatus,
    )
    from store.devices import Sort
    from store.model import MessageId

MAX_RATE_MINUTES = 120
PING_TIMEOUT_S = 1.0


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Query:
    """Answers for as many threads as the client has connections. Page sizes are cut to MAX_PAGE."""

    def __init__(self, client: redis.Redis, settings: Settings, now_ms: Callable[[], int] = _clock_ms) -> None:
        self._redis = client
        self._settings = settings
        self._now_ms = now_ms
        self._naming = DeviceNaming(settings.device_topics)
        self._pinger = connect(settings, timeout_s=PING_TIMEOUT_S, retries=0)

    def fleet(self) -> FleetCounts:
        """Return the counters of the overview.

        `online` is the sum over live nodes, not more than `total`: a device that moves between nodes may count twice
        for a moment, and one that is connected but never published is not part of `total`.
        """
        now_ms = self._now_ms()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcard(schema.DEVICES_NAMES)
        pipeline.zcount(schema.DEVICES_SEEN, "-inf", f"({now_ms - self._settings.quiet_after_s * 1000}")
        pipeline.hmget(schema.FLEET, ["messages", "bytes"])
        total, quiet, (messages, payload_bytes) = pipeline.execute()
        online = min(total, presence.online_count(self._redis, now_ms))
        return FleetCounts(total, online, quiet, int(messages or 0), int(payload_bytes or 0))

    def rate(self, minutes: int) -> list[tuple[int, float]]:
        """Return (start in ms, messages per second) of each complete slot of RATE_SLOT_S, oldest first."""
        end = self._now_ms() // 1000 // schema.RATE_SLOT_S * schema.RATE_SLOT_S
        length = max(1, min(minutes, MAX_RATE_MINUTES)) * 60
        slots = list(range(end - length, end, schema.RATE_SLOT_S))
        counts: Any = self._redis.hmget(schema.FLEET_RATE, [str(slot) for slot in slots])
        return [(s * 1000, int(count or 0) / schema.RATE_SLOT_S) for s, count in zip(slots, counts, strict=True)]

    def devices(
        self,
        search: str = "",
        status: Status | None = None,
        limit: int = 50,
        cursor: str | None = None,
        sort: Sort = "last_seen",
    ) -> Page[DeviceSummary]:
        """Return a page of devices: newest message first, or by name where `sort` says so or `search` is given.

        `search` is a prefix of the id. Online devices come by when they connected, newest first. A page may be short
        and still have a next one. Raises ValueError for a cursor of another list.
        """
        return self._devices().page(search, status, limit, cursor, sort)

    def device(self, device_id: str) -> Device | None:
        """Return one device; None if it is not known."""
        return self._devices().device(device_id)

    def messages(
        self,
        device_id: str,
        limit: int = 50,
        before: MessageId | None = None,
        after: MessageId | None = None,
        topic: str | None = None,
    ) -> Page[StoredMessage]:
        """Return a device's recent messages, newest first; `topic` is a topic name or filter. See `history`."""
        return history.messages(self._redis, device_id, limit, before, after, topic)

    def message(self, device_id: str, message_id: MessageId) -> StoredMessage | None:
        """Return one message whole; None if it is not kept any more."""
        return history.message(self._redis, device_id, message_id)

    def series(self, device_id: str, field: str, from_ms: int, to_ms: int, points: int) -> list[SeriesPoint]:
        """Return a chart of a field. Raises ValueError for a bad range or number of points. See `history`."""
        return history.series(self._redis, device_id, field, from_ms, to_ms, points)

    def numeric_fields(self, device_id: str) -> list[str]:
        """Return the fields of a device whose last value is a number: those that have charts."""
        device = self._devices().device(device_id)
        values = device.values if device else {}
        return [path for path, value in values.items() if type(value.value) in (int, float)]

    def live(self, after: str | None, block_ms: int = 0, count: int = 100) -> LiveMessages:
        """Return new messages of all devices after a position. Raises ValueError for a bad one. See `live.follow`."""
        return live.follow(self._redis, self._naming, after, block_ms, count)

    def nodes(self) -> list[NodeStatus]:
        """Return the broker's processes that are alive."""
        return presence.nodes(self._redis, self._now_ms())

    def store_status(self) -> StoreStatus:
        """Return how the store is, with a warning for each thing an operator should change."""
        return health.store_status(self._redis, self._now_ms())

    def ping(self) -> bool:
        """Return whether the store answers, within about PING_TIMEOUT_S. Raises nothing."""
        try:
            return bool(self._pinger.ping())
        except redis.RedisError:
            return False

    def _devices(self) -> DeviceReader:
        return DeviceReader(self._redis, self._settings.quiet_after_s, self._now_ms())
