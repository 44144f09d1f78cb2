"""Hold the store and the fleet's own subscribers against the ledger, and give them the time they may take."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emulator.fleet.dashboard import DashboardError
from emulator.fleet.history import HistoryReader
from emulator.fleet.observer import Observer, StoreObserver
from emulator.fleet.verdict import Verdict, judge, judge_devices

if TYPE_CHECKING:
    from emulator.fleet.dashboard import Dashboard
    from emulator.fleet.ledger import Ledger

AGAIN_S = 0.5


class Verification:
    """One run's. `observers` are the fleet's own; the store is asked where a dashboard is given."""

    def __init__(self, ledger: Ledger, observers: list[Observer], dashboard: Dashboard | None, retention: int) -> None:
        self._ledger = ledger
        self._observers = observers
        self._device_ids: list[str] = []
        self._store = StoreObserver(ledger)
        self._reader = HistoryReader(dashboard, retention, ledger, self._store) if dashboard else None

    @property
    def is_asked(self) -> bool:
        """Whether there is anybody to hold against the ledger."""
        return bool(self._observers) or self._reader is not None

    async def begin(self, device_ids: list[str]) -> None:
        """Get ready, before the fleet sends anything. Raises DashboardError."""
        self._device_ids = device_ids
        if self._reader is not None:
            await self._reader.begin(device_ids)

    async def follow(self) -> None:
        """Read in time what the store will not keep; until cancelled."""
        if self._reader is not None:
            await self._reader.follow()

    async def verdict(self, timeout_s: float) -> Verdict:
        """Return the verdict, as soon as nothing is missing any more, or after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        reasons: list[str] = []
        observers = [*self._observers, *([self._store] if self._reader else [])]
        unread = self._device_ids
        while True:
            reasons = await self._read(unread)
            found = judge(self._ledger, observers, reasons)
            is_complete = all(each.is_complete for each in found.findings) and not reasons
            if is_complete or time.monotonic() > deadline_s:
                return found
            unread = unread if reasons else judge_devices(self._ledger, self._store)
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Close the connection to the API."""
        if self._reader is not None:
            self._reader.close()

    async def _read(self, device_ids: list[str]) -> list[str]:
        if self._reader is None:
            return []
        try:
            await self._reader.read_all(device_ids)
        except DashboardError as error:
            return [str(error)]
        return []
