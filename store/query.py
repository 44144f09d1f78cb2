"""The questions of the dashboard, each with a bounded answer (sync; `views` writes what is read here).

No question scans messages or the key space. Every method raises redis.RedisError while the store does not answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import redis

from store import capacity, health, history, live, presence, schema
from store.answers import FleetCounts
from store.connection import connect
from store.devices import DeviceReader
from store.memory import REFUSE_ABOVE
from store.model import DeviceNaming
from store.outlet_state import outlet_states
from store.retention_state import retention_state

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
    from store.capacity import Capacity
    from store.devices import Sort
    from store.model import MessageId
    from store.outlet_state import OutletState
    from store.retention_state import RetentionState

Readiness = Literal["ready", "store_full", "store_unavailable"]

MAX_RATE_MINUTES = 120
RATE_OF_CAPACITY_MINUTES = 60
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
        return health.store_status(self._redis, self._settings.store_bytes, self._now_ms())

    def capacity(self) -> Capacity:
        """Return what the store holds by kind of data, against its budget. Estimates, see `capacity`."""
        rates = [per_s for _, per_s in self.rate(RATE_OF_CAPACITY_MINUTES)]
        while rates and not rates[0]:  # before the first message
            rates.pop(0)
        per_s = sum(rates) / max(1, len(rates))
        return capacity.capacity(self._redis, self._settings, per_s, self._now_ms())

    def retention(self) -> RetentionState:
        """Return what was shed to make room."""
        return retention_state(self._redis)

    def outlets(self) -> list[OutletState]:
        """Return the state of each outlet of the log that the settings ask for."""
        return outlet_states(self._redis, self._settings, self._now_ms())

    def ping(self) -> bool:
        """Return whether the store answers, within about PING_TIMEOUT_S. Raises nothing."""
        return self.readiness() != "store_unavailable"

    def readiness(self) -> Readiness:
        """Return whether the store answers, and has room for messages, within about PING_TIMEOUT_S. Raises nothing."""
        try:
            memory = health.fullest_memory(self._pinger, self._settings.store_bytes)
        except redis.RedisError:
            return "store_unavailable"
        return "store_full" if memory.share > REFUSE_ABOVE else "ready"

    def _devices(self) -> DeviceReader:
        return DeviceReader(self._redis, self._settings.quiet_after_s, self._now_ms())
