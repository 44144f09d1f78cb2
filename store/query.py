"""The questions of the dashboard, each with a bounded answer (sync; `views` and outlets write what is read here).

What is recent comes from Redis, what is older from MongoDB where MONGO_URL is set; answers do not tell which one it was. No
question scans all messages or the key space. Every method raises redis.RedisError while Redis does not answer; without
MongoDB, answers are partial (`is_partial`), or LongHistoryUnavailable is raised where nothing is left to answer with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import redis

from store import capacity, health, live, presence, schema
from store.answers import MAX_PAGE, FleetCounts
from store.clock import wall_ms
from store.connection import connect
from store.devices import DeviceReader, device_of_messages
from store.memory import REFUSE_ABOVE
from store.messages import MessageReader
from store.model import DeviceNaming
from store.outlet_state import outlet_states
from store.retention_state import retention_state
from store.rollups import ages_s
from store.scan import MessageFilter
from store.series import SeriesReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from settings import Settings
    from store.answers import (
        Device,
        DeviceSummary,
        LiveMessages,
        NodeStatus,
        Page,
        Series,
        Status,
        StoredMessage,
        StoreStatus,
    )
    from store.capacity import Capacity
    from store.devices import Sort
    from store.long_history_query import LongHistoryQuery
    from store.model import MessageId
    from store.outlet_state import OutletState
    from store.retention_state import RetentionState

Readiness = Literal["ready", "not_accepting", "store_full", "store_unavailable"]
Order = Literal["newest", "oldest"]

MAX_RATE_MINUTES = 120
RATE_OF_CAPACITY_MINUTES = 60
PING_TIMEOUT_S = 1.0


def _long_history(settings: Settings) -> LongHistoryQuery | None:
    if not settings.mongo_url:
        return None
    from store.long_history_query import LongHistoryQuery  # noqa: PLC0415  most installations have no MongoDB
    from store.mongo import connect_mongo  # noqa: PLC0415

    return LongHistoryQuery(connect_mongo(settings))


class Query:
    """Answers for as many threads as the client has connections. Page sizes are cut to MAX_PAGE."""

    def __init__(self, client: redis.Redis, settings: Settings, now_ms: Callable[[], int] = wall_ms) -> None:
        self._redis = client
        self._settings = settings
        self._now_ms = now_ms
        self._naming = DeviceNaming(settings.device_topics)
        self._pinger = connect(settings, timeout_s=PING_TIMEOUT_S, retries=0)
        self._long = _long_history(settings)
        self._messages = MessageReader(client, self._long)

    def close(self) -> None:
        """Close the connections that this opened; the client given stays."""
        self._pinger.close()
        if self._long is not None:
            self._long.close()

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
        """Return one device; None if it is not known. Raises LongHistoryUnavailable.

        One that Redis has lost is told from its first and last message in the long history.
        """
        found = self._devices().device(device_id)
        if found is None and self._long is not None:
            ends = self._long.first_and_last(device_id)
            return device_of_messages(*ends) if ends else None
        return found

    def messages(
        self,
        device_id: str,
        limit: int = 50,
        before: MessageId | None = None,
        after: MessageId | None = None,
        topic: str | None = None,
        *,
        field: str | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        order: Order = "newest",
    ) -> Page[StoredMessage]:
        """Return a page of a device's messages between two ids, which are left out; see `MessageFilter`.

        `order` says which come first; `next` is the `before` of the next page of the newest, the `after` of the oldest.
        At most MAX_EXAMINED messages are looked at: a page may be short and still have a next one.
        """
        wanted = MessageFilter(topic, field, from_ms, to_ms)
        read = self._messages.newest_first if order == "newest" else self._messages.oldest_first
        return read(device_id, wanted.range(after, before), wanted, max(1, min(limit, MAX_PAGE)))

    def message(self, device_id: str, message_id: MessageId) -> StoredMessage | None:
        """Return one message whole; None if it is not kept any more. Raises LongHistoryUnavailable."""
        return self._messages.message(device_id, message_id)

    def series(self, device_id: str, field: str, from_ms: int, to_ms: int, points: int) -> Series:
        """Return a chart of a field. Raises ValueError for a bad range or number of points. See `SeriesReader`."""
        reader = SeriesReader(self._redis, self._long, ages_s(self._settings), self._now_ms())
        return reader.series(device_id, field, from_ms, to_ms, points)

    def numeric_fields(self, device_id: str) -> list[str]:
        """Return the fields of a device whose last value is a number: those that have charts."""
        device = self.device(device_id)
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
        """Return whether the store answers, and takes messages, within about PING_TIMEOUT_S. Raises nothing."""
        return self.readiness_and_reason()[0]

    def readiness_and_reason(self) -> tuple[Readiness, str]:
        """Return `readiness`, and why the store takes no writes where it is "not_accepting". Raises nothing."""
        try:
            memory = health.fullest_memory(self._pinger, self._settings.store_bytes)
            refusal = health.refusal(self._pinger)
        except redis.RedisError:
            return "store_unavailable", ""
        if refusal:
            return "not_accepting", refusal
        return "store_full" if memory.share > REFUSE_ABOVE else "ready", ""

    def _devices(self) -> DeviceReader:
        return DeviceReader(self._redis, self._settings.quiet_after_s, self._now_ms())
