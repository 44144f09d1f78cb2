"""Keeps Redis from filling up: sheds what can be spared before messages have to be refused.

Runs beside the projector, in its process, and does its work whether projection gets on or not, also while Redis is over its
memory limit (docs/decisions/0009). The log kept for live views goes first, then what `sheddable` names, a little at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import redis

from broker.projector.sheddable import Sheddable
from store.memory import NEARLY_FULL_ABOVE, SHED_ABOVE, SHED_TO, fullest
from store.retention_state import LOG, NOTHING
from store.shedding import SAMPLE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from settings import Settings
    from store.memory import Memory
    from store.shedding import Shedding

PERIOD_S, URGENT_PERIOD_S = 0.25, 0.1
NOTE_S = 1.0
WORK_S, URGENT_WORK_S = 0.05, 0.3  # between two periods, at most: Redis has other things to do
PAUSE_S = 5.0  # where nothing was left to shed
MIB = 1024 * 1024
SETTLED_S = 600.0  # without shedding: then it is over

log = logging.getLogger(__name__)


class Retention:
    """Watches the store's memory while `run` runs, and sheds while this node is the one that projects.

    `trim_log()` cuts off what the log does not have to keep. `is_exhausted`: memory is short and nothing is left to shed.
    """

    def __init__(
        self,
        shedding: Shedding,
        settings: Settings,
        trim_log: Callable[[], Awaitable[None]],
        node_id: str,
        now_ms: Callable[[], int],
    ) -> None:
        self.is_exhausted = False
        self._shedding = shedding
        self._sheddable = Sheddable(shedding, settings, now_ms)
        self._trim_log = trim_log
        self._node_id = node_id
        self._now_ms = now_ms
        self._sampled_s = 0
        self._needs_room = False
        self._since_ms = 0  # of this time of shedding; 0: it is over
        self._shed_s = float("-inf")  # when there was something to shed last
        self._resume_s = float("-inf")
        self._doing = ""
        self._noted: str | None = None  # None: another process did
        self._noted_s = float("-inf")
        self._steps: AsyncIterator[str] | None = None

    async def run(self) -> None:
        """Watch until cancelled, whatever the store does meanwhile."""
        while True:
            try:
                if await self._shedding.is_projecting(self._node_id):
                    await self._turn()
            except (redis.RedisError, OSError) as error:
                self._steps = None
                log.debug("Retention waits for the store: %s", error)
            await asyncio.sleep(URGENT_PERIOD_S if self._sheddable.is_urgent else PERIOD_S)

    async def _turn(self) -> None:
        memories = await self._look()
        await self._sample(memories)
        if self._needs_room:
            self._say_begin(fullest(memories))
            await self._shed()
        elif self._doing and _loop_s() - self._shed_s > SETTLED_S:
            self._say_end()
        await self._note_if_due()

    async def _look(self) -> dict[str, Memory]:
        memories = await self._shedding.memory()
        bound = SHED_TO if self._needs_room else SHED_ABOVE
        self._sheddable.masters = [name for name, memory in memories.items() if memory.share > bound]
        self._sheddable.is_urgent = fullest(memories).share > NEARLY_FULL_ABOVE
        self._needs_room = bool(self._sheddable.masters)
        self.is_exhausted = self.is_exhausted and self._needs_room
        return memories

    async def _sample(self, memories: dict[str, Memory]) -> None:
        now_s = self._now_ms() // 1000 // SAMPLE_S * SAMPLE_S
        if now_s != self._sampled_s:
            await self._shedding.note_memory(now_s, sum(memory.used_bytes for memory in memories.values()))
            self._sampled_s = now_s

    async def _shed(self) -> None:
        """Cut the log; then take steps until there is room, nothing is left, or this period's time for it is over."""
        end_s = _loop_s() + (URGENT_WORK_S if self._sheddable.is_urgent else WORK_S)
        await self._cut_log()
        while self._needs_room and self._resume_s <= _loop_s() < end_s:
            await self._step()
            await self._look()
        if not self._needs_room:
            self._steps = None  # the next time begins with history again
        self._shed_s = _loop_s()

    async def _cut_log(self) -> None:
        if self._shedding.has_log(self._sheddable.masters):
            self._sheddable.shed["log_bytes"] += await self._shedding.cut_log()
            await self._trim_log()
            await self._look()
        self._doing = self._doing or LOG

    async def _step(self) -> None:
        if self._steps is None:
            self._steps = self._sheddable.steps()
        before = self._sheddable.shed.total()
        try:
            self._doing = await anext(self._steps)
            self.is_exhausted = self.is_exhausted and self._sheddable.shed.total() == before
        except StopAsyncIteration:
            self._doing, self._steps, self._resume_s = NOTHING, None, _loop_s() + PAUSE_S
            self.is_exhausted = True

    # --- what is said of it

    def _say_begin(self, memory: Memory) -> None:
        if not self._since_ms:
            self._since_ms = self._now_ms()
            log.warning(
                "Redis uses %.0f %% of the %.0f MiB that it may: old history goes to make room, the oldest first.",
                100 * memory.share,
                memory.budget_bytes / MIB,
            )

    def _say_end(self) -> None:
        log.info("Redis has room: nothing had to go for %d s.", SETTLED_S)
        self._since_ms, self._doing = 0, ""

    async def _note_if_due(self) -> None:
        is_new = any(self._sheddable.shed.values()) or self._doing != self._noted
        if not is_new or _loop_s() < self._noted_s + NOTE_S:
            return
        values: dict[str, str | int] = {"shedding": self._doing, "since_ms": self._since_ms}
        if self._sheddable.reaches_ms:
            values["reaches_ms"] = self._sheddable.reaches_ms
        await self._shedding.note(self._sheddable.shed, values)
        self._sheddable.shed.clear()
        self._noted, self._noted_s = self._doing, _loop_s()


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
