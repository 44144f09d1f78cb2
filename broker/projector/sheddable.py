"""What of the views can go to make room, in the order in which it goes: what is missed least first.

Recent history, oldest first over all devices; rollups, oldest first, unit by unit; what is left of the history. A device's
newest messages stay as long as possible, its last values always.
A time in the past moves forward over all devices: one pass over them cuts at one time, a few devices a step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.retention_state import HISTORY, ROLLUPS
from store.shedding import ROLLUP_UNITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from settings import Settings
    from store.shedding import RollupUnit, Shedding

DEVICES_A_STEP = 128
SAMPLE_DEVICES = 64
PASSES, URGENT_PASSES = 8, 2  # a pass takes this part of the time there is history of; the next more if it was in vain
FRESH_MS = 1_000  # younger history stays
HASHES_A_STEP = 8  # of each field of a device, in one script


@dataclass
class _Pass:
    """One walk over all devices that cuts their history at one time. `after`: the device that was cut last."""

    before_ms: int
    after: str = ""
    oldest_ms: int | None = None
    messages: int = 0


class Sheddable:
    """Everything that can go. `masters`: those that need room; `is_urgent`: take larger parts. Set both before a step.

    `shed` counts what went, `reaches_ms` is the time at which history was cut last; 0: it was not.
    """

    def __init__(self, shedding: Shedding, settings: Settings, now_ms: Callable[[], int]) -> None:
        self._shedding = shedding
        self._settings = settings
        self._now_ms = now_ms
        self._pass: _Pass | None = None
        self.masters: list[str] = []
        self.is_urgent = False
        self.shed: Counter[str] = Counter()
        self.reaches_ms = 0

    async def steps(self) -> AsyncIterator[str]:
        """Shed a little with each step and yield what it was. Begun anew, it goes on with the history where it stopped."""
        async for _ in self._history(keeps_newest=True):
            yield HISTORY
        for unit in ROLLUP_UNITS:
            async for _ in self._rollups(unit):
                yield ROLLUPS
        async for _ in self._history(keeps_newest=False):
            yield HISTORY

    # --- history

    async def _history(self, *, keeps_newest: bool) -> AsyncIterator[None]:
        fresh_ms = self._now_ms() - FRESH_MS
        cut = self._pass or await self._first_pass(fresh_ms, keeps_newest=keeps_newest)
        passes = PASSES
        while True:
            self._pass = cut
            async for _ in self._cut(cut, keeps_newest=keeps_newest):
                yield
            self._pass = None
            if cut.oldest_ms is None or cut.oldest_ms >= fresh_ms:
                return
            passes = PASSES if cut.messages else max(1, passes // 2)
            cut = self._next_pass(cut.oldest_ms, fresh_ms, passes)

    async def _first_pass(self, fresh_ms: int, *, keeps_newest: bool) -> _Pass:
        """Begin where the oldest history is, as some devices show; where they have none, with a look at all."""
        some = self._in_need(await self._shedding.some_devices(SAMPLE_DEVICES))
        oldest_ms = (await self._shedding.cut_history(some, 0, keeps_newest=keeps_newest)).oldest_ms
        return _Pass(0) if oldest_ms is None else self._next_pass(oldest_ms, fresh_ms, PASSES)

    def _next_pass(self, oldest_ms: int, fresh_ms: int, passes: int) -> _Pass:
        part = (fresh_ms - oldest_ms) // (min(passes, URGENT_PASSES) if self.is_urgent else passes)
        return _Pass(min(fresh_ms, oldest_ms + max(part, FRESH_MS)))

    async def _cut(self, cut: _Pass, *, keeps_newest: bool) -> AsyncIterator[None]:
        while names := await self._shedding.devices(cut.after, DEVICES_A_STEP):
            cut.after = names[-1]
            gone = await self._shedding.cut_history(self._in_need(names), cut.before_ms, keeps_newest=keeps_newest)
            cut.messages += gone.messages
            self.shed["messages"] += gone.messages
            self.shed["bytes"] += gone.bytes
            if gone.messages:
                self.reaches_ms = cut.before_ms
            if gone.oldest_ms is not None:
                cut.oldest_ms = min(gone.oldest_ms, cut.oldest_ms or gone.oldest_ms)
            yield

    # --- rollups

    async def _rollups(self, unit: RollupUnit) -> AsyncIterator[None]:
        current = self._now_ms() // unit.hash_ms
        while (first := await self._oldest_rollup(unit, current - 1)) is not None:
            last = min(current - 1, first + min(HASHES_A_STEP, (current - first) // PASSES))
            async for names in self._devices():
                self.shed["rollups"] += await self._shedding.cut_rollups(names, unit, first, last)
                yield

    async def _oldest_rollup(self, unit: RollupUnit, last: int) -> int | None:
        """Return from which hash on some devices have rollups; the one that is under way does not count."""
        age_s = getattr(self._settings, unit.age_setting)
        some = self._in_need(await self._shedding.some_devices(SAMPLE_DEVICES))
        return await self._shedding.oldest_rollup(some, unit, last - age_s * 1000 // unit.hash_ms - 1, last)

    async def _devices(self) -> AsyncIterator[list[str]]:
        after = ""
        while names := await self._shedding.devices(after, DEVICES_A_STEP):
            after = names[-1]
            yield self._in_need(names)

    def _in_need(self, device_ids: list[str]) -> list[str]:
        return self._shedding.on_masters(self.masters, device_ids)
