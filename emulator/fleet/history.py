"""Reads the fleet's devices back from the store, through the dashboard's API, while the fleet runs and at its end.

A device's history is bounded, so a device that has sent much is read in time: each time before what is new reaches
half of the retention, which is given in messages (HISTORY_MESSAGES) and taken to be at least 1 MiB (HISTORY_BYTES).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulator.fleet.dashboard import Api, DashboardError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.fleet.dashboard import Dashboard, Position, Row
    from emulator.fleet.ledger import Ledger
    from emulator.fleet.observer import StoreObserver

FOLLOW_BYTES = 512 * 1024
FOLLOW_PERIOD_S = 1.0
NOWHERE = (0, 0)


@dataclass
class _Followed:
    """How far a device was read; `first` is the oldest message of it that has to be there if nothing was trimmed."""

    before: Position
    first: Position
    position: Position
    messages: int = 0
    payload_bytes: int = 0


class HistoryReader:
    """Tells a StoreObserver what the store shows. Every method but `follow` raises DashboardError."""

    def __init__(self, dashboard: Dashboard, retention: int, ledger: Ledger, observer: StoreObserver) -> None:
        self._api = Api(dashboard)
        self._follow_messages = max(1, retention // 2)
        self._ledger = ledger
        self._observer = observer
        self._devices: dict[str, _Followed] = {}

    async def begin(self, device_ids: Iterable[str]) -> None:
        """Note where each history stands before the fleet sends anything."""
        for device_id in device_ids:
            newest = await asyncio.to_thread(self._api.newest, device_id)
            self._devices[device_id] = _Followed(newest, newest, newest)

    async def follow(self) -> None:
        """Read devices that have sent much, until cancelled. While the API does not answer, try again."""
        while True:
            await asyncio.sleep(FOLLOW_PERIOD_S)
            try:
                for device_id, made in self._made().items():
                    await self._follow(device_id, self._devices[device_id], *made)
            except DashboardError:
                continue

    async def read_all(self, device_ids: Iterable[str]) -> None:
        """Look at all that is kept of some devices anew."""
        for device_id in device_ids:
            device = self._devices[device_id]
            rows, is_whole = await asyncio.to_thread(self._api.messages, device_id, device.before)
            is_whole |= any(row.position == device.first for row in rows)
            if not is_whole and self._is_large(rows):
                self._observer.trimmed.add(device_id)
                if not any(row.position == device.position for row in rows):
                    self._observer.unread.add(device_id)
            self._observer.forget(device_id)
            for row in rows:
                self._observer.note(row.topic_name, row.payload)

    def close(self) -> None:
        """Close the connection to the API."""
        self._api.close()

    async def _follow(self, device_id: str, device: _Followed, messages: int, payload_bytes: int) -> None:
        is_many = messages - device.messages >= self._follow_messages
        if is_many or payload_bytes - device.payload_bytes >= FOLLOW_BYTES:
            await self._read_on(device_id, device)
            device.messages, device.payload_bytes = messages, payload_bytes

    async def _read_on(self, device_id: str, device: _Followed) -> None:
        rows, is_whole = await asyncio.to_thread(self._api.messages, device_id, device.position)
        if not is_whole and (device.position != NOWHERE or self._is_large(rows)):
            self._observer.unread.add(device_id)
        for row in rows:
            self._observer.followed.note(row.topic_name, row.payload)
        if rows:
            device.position = rows[-1].position
            device.first = rows[0].position if device.first == NOWHERE else device.first

    def _made(self) -> dict[str, tuple[int, int]]:
        """Return messages and bytes that the fleet has made so far for each device."""
        made = dict.fromkeys(self._devices, (0, 0))
        for track in self._ledger.tracks:
            messages, payload_bytes = made[track.source.device_id]
            made[track.source.device_id] = (messages + track.made, payload_bytes + track.payload_bytes)
        return made

    def _is_large(self, rows: list[Row]) -> bool:
        return len(rows) >= self._follow_messages or sum(len(row.payload) for row in rows) >= FOLLOW_BYTES
