"""What each kind of data takes in Redis, and what the settings make of it for this fleet: estimates from samples (sync reads).

A few devices and sessions are taken at random and measured (`MEMORY USAGE`); the rest is arithmetic. No message is read, and
the cost does not depend on how many there are. docs/limits.md gives the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from store import health, schema
from store.memory import REFUSE_ABOVE, SHED_ABOVE, log_bound
from store.retention_state import RetentionState, memory_samples, retention_state
from store.shedding import ROLLUP_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from settings import Settings
    from store.memory import Memory
    from store.shedding import RollupUnit

SAMPLE_DEVICES = 24
SAMPLE_SESSIONS = 24
PROBES = 6  # hashes of one field and unit that are measured
NODES_SAMPLED = 100  # of a stream or a hash, by MEMORY USAGE
STREAM_NODE_BYTES = 4096  # that a device's history takes beyond its messages: its newest node is allocated whole
GROWTH_SAMPLES = 4  # that growth can be told from: a quarter of an hour

_unpack = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True)
class Use:
    """One kind of data: its name, `count` of what it is made of, bytes it takes now and takes at most, about.

    `most_bytes`: by its settings, with the devices and sessions that there are; None: it cannot be said.
    """

    name: str
    count: int
    bytes: int
    most_bytes: int | None


@dataclass(frozen=True)
class Growth:
    """How the use of memory went over `over_s`; `to_shedding_s`: how long until history is shed if it goes on like that.

    `to_shedding_s` is None where it does not grow, or nothing bounds it.
    """

    over_s: int
    bytes_per_hour: int
    to_shedding_s: int | None


@dataclass(frozen=True)
class Capacity:
    """The store's use against its budget (0: nothing bounds it), by kind of data. `growth` is None where it cannot be told."""

    used_bytes: int
    budget_bytes: int
    is_full: bool
    uses: list[Use]
    retention: RetentionState
    growth: Growth | None


def capacity(client: Redis, settings: Settings, messages_per_s: float, now_ms: int) -> Capacity:
    """Measure and reckon. `messages_per_s`: of the whole fleet, as of late. Raises redis.RedisError."""
    memory = health.memory(client, settings.store_bytes)
    state = retention_state(client)
    devices = _DeviceSample.take(client, settings, now_ms)
    uses = [
        _log_use(client, settings, memory),
        devices.history_use(settings, messages_per_s),
        *devices.rollup_uses(settings),
        devices.record_use(),
        _retained_use(client, settings),
        _session_use(client, settings),
    ]
    rest = memory.used_bytes - sum(use.bytes for use in uses)
    return Capacity(
        used_bytes=memory.used_bytes,
        budget_bytes=memory.budget_bytes,
        is_full=health.fullest_memory(client, settings.store_bytes).share > REFUSE_ABOVE,
        uses=[*uses, Use("other", 0, max(0, rest), None)],
        retention=state,
        growth=None
        if state.shedding
        else growth(memory_samples(client), memory.used_bytes, memory.budget_bytes, now_ms),
    )


def growth(samples: Sequence[tuple[int, int]], used_bytes: int, budget_bytes: int, now_ms: int) -> Growth | None:
    """Tell growth from (s, bytes) samples, oldest first, and what is used now; None where they are too few."""
    if len(samples) < GROWTH_SAMPLES:
        return None
    (first_s, first_bytes), over_s = samples[0], now_ms // 1000 - samples[0][0]
    per_s = (used_bytes - first_bytes) / max(1, over_s)
    room = SHED_ABOVE * budget_bytes - used_bytes
    left_s = int(max(0, room) / per_s) if budget_bytes and per_s > 0 else None
    return Growth(now_ms // 1000 - first_s, int(per_s * 3600), left_s)


@dataclass(frozen=True)
class _Device:
    """A device that was measured. `rollups`: for each unit (bytes of all its hashes, bytes of one that is whole)."""

    record_bytes: int
    history_bytes: int
    history_messages: int
    rollups: list[tuple[float, int]]
    fields: int


class _DeviceSample:
    """Some devices, measured, and how many there are."""

    def __init__(self, devices: list[_Device], total: int) -> None:
        self._devices = devices
        self._total = total

    @classmethod
    def take(cls, client: Redis, settings: Settings, now_ms: int) -> _DeviceSample:
        """Measure SAMPLE_DEVICES."""
        pipeline = client.pipeline(transaction=False)
        pipeline.zcard(schema.DEVICES_NAMES)
        pipeline.zrandmember(schema.DEVICES_NAMES, SAMPLE_DEVICES)
        total, names = pipeline.execute()
        return cls([_measure(client, settings, name.decode(), now_ms) for name in names or ()], total)

    def history_use(self, settings: Settings, messages_per_s: float) -> Use:
        """Return what recent history takes, and would take at its bounds."""
        messages = sum(device.history_messages for device in self._devices)
        size_bytes = sum(device.history_bytes for device in self._devices)
        most = None
        if messages and self._total:
            a_message = size_bytes / messages
            most = min(settings.history_bytes, a_message * settings.history_messages)
            if messages_per_s:  # else it cannot be said how many there are of an age
                most = min(most, a_message * messages_per_s / self._total * settings.history_age_s)
            most = self._of_all(most + STREAM_NODE_BYTES)
        return Use("history", self._of_all(self._mean(messages)), self._of_all(self._mean(size_bytes)), most)

    def rollup_uses(self, settings: Settings) -> list[Use]:
        """Return what rollups of each unit take, and would take once they are as old as they get."""
        uses = []
        for number, unit in enumerate(ROLLUP_UNITS):
            now = sum(device.rollups[number][0] for device in self._devices)
            hashes = getattr(settings, unit.age_setting) * 1000 // unit.hash_ms + 1
            most = sum(device.rollups[number][1] * device.fields * hashes for device in self._devices)
            fields = self._of_all(self._mean(sum(device.fields for device in self._devices)))
            uses.append(
                Use(f"rollups_{unit.letter}", fields, self._of_all(self._mean(now)), self._of_all(self._mean(most)))
            )
        return uses

    def record_use(self) -> Use:
        """Return what records, last values and lists of topics take."""
        size_bytes = self._mean(sum(device.record_bytes for device in self._devices))
        return Use("devices", self._total, self._of_all(size_bytes), None)

    def _mean(self, total: float) -> float:
        return total / max(1, len(self._devices))

    def _of_all(self, mean: float) -> int:
        return int(mean * self._total)


def _measure(client: Redis, settings: Settings, device_id: str, now_ms: int) -> _Device:
    pipeline = client.pipeline(transaction=False)
    for part in ("record", "values", "topics", "history"):
        pipeline.memory_usage(schema.device(device_id, part), samples=NODES_SAMPLED)
    pipeline.hgetall(schema.device(device_id, "values"))
    pipeline.hmget(schema.device(device_id, "record"), ["first_seen", "history_count"])
    *sizes, values, (first_seen_ms, history_messages) = pipeline.execute()
    charted = [path.decode() for path, value in values.items() if type(_unpack(value)[0]) in (int, float)]
    first_ms = int(first_seen_ms or now_ms)
    return _Device(
        record_bytes=sum(size or 0 for size in sizes[:3]),
        history_bytes=sizes[3] or 0,
        history_messages=int(history_messages or 0) if sizes[3] else 0,
        rollups=[_rollup_bytes(client, settings, device_id, unit, charted, first_ms, now_ms) for unit in ROLLUP_UNITS],
        fields=len(charted),
    )


def _rollup_bytes(
    client: Redis, settings: Settings, device_id: str, unit: RollupUnit, charted: list[str], first_ms: int, now_ms: int
) -> tuple[float, int]:
    """Return what all hashes of a unit take at one device, judged by some of one field, and the largest of these."""
    if not charted:
        return 0.0, 0
    kept_from_ms = max(first_ms, now_ms - getattr(settings, unit.age_setting) * 1000)
    first, last = kept_from_ms // unit.hash_ms, now_ms // unit.hash_ms
    probes = sorted({first + (last - first) * step // (PROBES - 1) for step in range(PROBES)})
    pipeline = client.pipeline(transaction=False)
    for number in probes:
        pipeline.memory_usage(f"{schema.device(device_id, unit.letter)}:{number}:{charted[0]}")
    sizes = [size or 0 for size in pipeline.execute()]
    return sum(sizes) / len(sizes) * (last - first + 1) * len(charted), max(sizes)


def _log_use(client: Redis, settings: Settings, memory: Memory) -> Use:
    pipeline = client.pipeline(transaction=False)
    pipeline.memory_usage(schema.LOG, samples=NODES_SAMPLED)
    pipeline.xlen(schema.LOG)
    size_bytes, entries = pipeline.execute()
    most = settings.log_keep_bytes + log_bound(memory, settings.log_max_bytes)
    return Use("log", entries, size_bytes or 0, most)


def _retained_use(client: Redis, settings: Settings) -> Use:
    pipeline = client.pipeline(transaction=False)
    pipeline.hlen(schema.RETAINED)
    pipeline.memory_usage(schema.RETAINED, samples=NODES_SAMPLED)
    pipeline.memory_usage(schema.RETAINED_INDEX, samples=NODES_SAMPLED)
    count, *sizes = pipeline.execute()
    size_bytes = sum(size or 0 for size in sizes)
    most = min(size_bytes // count * settings.retained_messages, settings.retained_bytes) if count else None
    return Use("retained", count, size_bytes, most)


def _session_use(client: Redis, settings: Settings) -> Use:
    pipeline = client.pipeline(transaction=False)
    pipeline.zcard(schema.SESSIONS)
    pipeline.zrandmember(schema.SESSIONS, SAMPLE_SESSIONS)
    count, names = pipeline.execute()
    pipeline = client.pipeline(transaction=False)
    for name in names or ():
        for key in (schema.session(name.decode()), schema.queue(name.decode())):
            pipeline.memory_usage(key, samples=NODES_SAMPLED)
    sizes: list[Any] = pipeline.execute()
    size_bytes = sum(size or 0 for size in sizes) * count // max(1, len(names or ()))
    return Use("sessions", count, size_bytes, count * settings.queue_bytes)
