"""Write the views of devices in round trips that are bounded in devices, in messages and in what they add to the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.projector.grouping import DeviceGroups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.projector.grouping import DeviceGroup
    from broker.projector.growth_gate import GrowthGate
    from store.views import DeviceWrite, Growth, Views

TRIP_DEVICES = 256
TRIP_MESSAGES = 4096
TRIP_BYTES = 768 * 1024  # as groups reckon what they add; with one more group
PREPARE_STEP = 16  # groups made in one turn of the event loop: a millisecond


class DeviceWriter:
    """Applies what the log holds of devices. `left_out`: messages that were counted, but not kept: the store was full."""

    def __init__(self, views: Views, gate: GrowthGate, now_ms: Callable[[], int]) -> None:
        self.left_out = 0
        self._views = views
        self._gate = gate
        self._now_ms = now_ms

    async def apply(self, groups: DeviceGroups) -> bool:
        """Apply every group. Another projector may have been faster with some of their messages: leave those out.

        Returns False if that cannot be done: the store has lost what it had when the log was read.
        """
        while messages := len(groups):
            groups = await self._apply_once(groups)
            if len(groups) == messages:
                return False
        return True

    async def _apply_once(self, groups: DeviceGroups) -> DeviceGroups:
        """Apply every group, a trip being prepared while the store does the one before; return what was refused."""
        refused = DeviceGroups()
        under_way: asyncio.Task[None] | None = None
        try:
            async for trip, size_bytes in _trips(groups):
                writes = [group.write() for group in trip]
                if under_way is not None:
                    await under_way
                growth = await self._gate.growth()
                under_way = asyncio.create_task(self._apply_trip(trip, writes, growth, refused))
                if size_bytes > 2 * TRIP_BYTES:  # of a large message there are copies enough
                    await under_way
            if under_way is not None:
                await under_way
        finally:
            if under_way is not None and not under_way.done():
                under_way.cancel()
        return refused

    async def _apply_trip(
        self, trip: list[DeviceGroup], writes: list[DeviceWrite], growth: Growth, refused: DeviceGroups
    ) -> None:
        positions = await self._views.apply_devices(writes, self._now_ms(), growth)
        for group, position in zip(trip, positions, strict=True):
            if position is not None:
                refused.add(group.device_id, group.items_after(position))
            elif not growth.is_allowed:
                self.left_out += len(group)


async def _trips(groups: DeviceGroups) -> AsyncIterator[tuple[list[DeviceGroup], int]]:
    """Cut groups, in order, into round trips; with each, what it may add to the store. The event loop goes on meanwhile."""
    trip: list[DeviceGroup] = []
    messages = size_bytes = 0
    for number, group in enumerate(groups.groups()):
        if trip and (
            len(trip) == TRIP_DEVICES or messages > TRIP_MESSAGES or size_bytes + group.growth_bytes > TRIP_BYTES
        ):
            yield trip, size_bytes
            trip, messages, size_bytes = [], 0, 0
        trip.append(group)
        messages += len(group)
        size_bytes += group.growth_bytes
        if number % PREPARE_STEP == 0:
            await asyncio.sleep(0)
    if trip:
        yield trip, size_bytes
