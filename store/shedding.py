"""What makes room in the store, and what is noted of it (async; `retention_state` reads that).

Every write here works while Redis is over its memory limit: its scripts say so (`flags=allow-oom`), and free memory or
hardly take any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from store import schema
from store.memory import master_of, memories
from store.scripting import ScriptRunner, load_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from settings import Settings
    from store.cluster_link import ClusterLink
    from store.link import StoreLink
    from store.memory import Memory
    from store.scripting import Script

MOST_CHUNKS = 256  # that one script removes: a few milliseconds
SAMPLE_S = 300  # between two notes of how much is used
SAMPLES_KEPT_S = 86_400


class HistoryCut(NamedTuple):
    """What was removed of some devices' history; `oldest_ms`: of what could go next, None: nothing can."""

    messages: int
    bytes: int
    oldest_ms: int | None


class RollupUnit(NamedTuple):
    """Rollups of one unit: their letter in keys, how long one hash of them lasts, and the setting that bounds their age."""

    letter: str
    hash_ms: int
    age_setting: str


ROLLUP_UNITS = tuple(
    RollupUnit(unit.letter, unit.ms * unit.span, setting)
    for unit, setting in zip(schema.UNITS, ("rollup_age_s", "hour_rollup_age_s", "day_rollup_age_s"), strict=True)
)
"""In the order in which they go."""


class Shedding:
    """Removes what can be spared from one store. Every method raises redis.RedisError or OSError when the store does not do it.

    The client is for one task and should not retry by itself; `link` is what `cluster_link.views_link` makes of it.
    """

    def __init__(self, client: Redis, settings: Settings, link: StoreLink | ClusterLink) -> None:
        self._redis: Any = client  # redis-py types a command for both of its kinds of client at once
        self._store_bytes = settings.store_bytes
        self._run = ScriptRunner(client, link).run
        self._history = load_script("shed_history")
        self._rollups = load_script("shed_rollups")
        self._oldest_rollup = load_script("oldest_rollup")
        self._log = load_script("shed_log")
        self._note = load_script("note")

    # --- what is there

    async def is_projecting(self, node_id: str) -> bool:
        """Return whether the node holds the lease of the projector."""
        holder: bytes | None = await self._redis.get(schema.PROJECTOR)
        return holder == node_id.encode()

    async def memory(self) -> dict[str, Memory]:
        """Return the memory of each master, see `memory.memories`."""
        return await memories(self._redis, self._store_bytes)

    async def devices(self, after: str, count: int) -> list[str]:
        """Return the next devices by name; none at the end."""
        start = f"({after}" if after else "-"
        names = await self._redis.zrangebylex(schema.DEVICES_NAMES, start, "+", 0, count)
        return [name.decode() for name in names]

    async def some_devices(self, count: int) -> list[str]:
        """Return as many devices, or all there are, taken at random."""
        return [name.decode() for name in await self._redis.zrandmember(schema.DEVICES_NAMES, count) or ()]

    def on_masters(self, masters: Iterable[str], device_ids: Sequence[str]) -> list[str]:
        """Return those of the devices whose keys are on one of the masters."""
        wanted = set(masters)
        return [each for each in device_ids if master_of(self._redis, schema.device(each, "record")) in wanted]

    def has_log(self, masters: Iterable[str]) -> bool:
        """Whether one of the masters has the log."""
        return master_of(self._redis, schema.LOG) in masters

    # --- what goes

    async def cut_log(self) -> int:
        """Keep nothing of the log for live views; it has to be trimmed then. Returns how many bytes that is, about."""
        (cut_bytes,) = await self._run([(self._log, [schema.FLEET], [])])
        return int(cut_bytes)

    async def cut_history(self, device_ids: Sequence[str], before_ms: int, *, keeps_newest: bool) -> HistoryCut:
        """Remove what devices sent before a time, as far as that frees memory; 0 as the time only looks.

        `keeps_newest`: their newest messages, up to some KiB, stay however old they are.
        """
        messages = size_bytes = 0
        oldest: list[int] = []
        waiting = list(device_ids)
        while waiting:
            arguments = [max(1, before_ms), int(keeps_newest), MOST_CHUNKS]
            keys = ([schema.device(each, part) for part in ("record", "history")] for each in waiting)
            answers = await self._run([(self._history, each, arguments) for each in keys])
            messages += sum(answer[0] for answer in answers)
            size_bytes += sum(answer[1] for answer in answers)
            oldest += [answer[2] for answer in answers if answer[2] >= max(1, before_ms)]
            pairs = zip(waiting, answers, strict=True)
            waiting = [each for each, (gone, _, oldest_ms) in pairs if gone and 0 < oldest_ms < before_ms]
        return HistoryCut(messages, size_bytes, min(oldest, default=None))

    async def cut_rollups(self, device_ids: Sequence[str], unit: RollupUnit, first: int, last: int) -> int:
        """Remove devices' rollups of a unit from one hash to another (numbers since the epoch); return how many those were."""
        return sum(await self._run(_rollup_calls(self._rollups, device_ids, unit, first, last)))

    async def oldest_rollup(self, device_ids: Sequence[str], unit: RollupUnit, first: int, last: int) -> int | None:
        """Return the number of the first hash of a unit between two that one of the devices has; None: none has any."""
        numbers = await self._run(_rollup_calls(self._oldest_rollup, device_ids, unit, first, last))
        return min((number for number in numbers if number >= 0), default=None)

    # --- what is noted

    async def note(self, added: Mapping[str, int], values: Mapping[str, str | int]) -> None:
        """Add to counters of the state of retention and set other fields of it."""
        await self._run([(self._note, [schema.RETENTION], _note_arguments(added, values))])

    async def note_memory(self, now_s: int, used_bytes: int) -> None:
        """Remember how much was used at a time, and forget what is older than SAMPLES_KEPT_S."""
        await self._run([(self._note, [schema.MEMORY], _note_arguments({}, {str(now_s): used_bytes}))])
        old = [each for each in await self._redis.hkeys(schema.MEMORY) if int(each) < now_s - SAMPLES_KEPT_S]
        if old:
            await self._redis.hdel(schema.MEMORY, *old)


def _rollup_calls(
    script: Script, device_ids: Sequence[str], unit: RollupUnit, first: int, last: int
) -> list[tuple[Script, list[str], list[Any]]]:
    return [
        (script, [schema.device(each, "values")], [f"{schema.device(each, unit.letter)}:", first, last])
        for each in device_ids
    ]


def _note_arguments(added: Mapping[str, int], values: Mapping[str, str | int]) -> list[str | int]:
    return [len(added), *(each for pair in (*added.items(), *values.items()) for each in pair)]
