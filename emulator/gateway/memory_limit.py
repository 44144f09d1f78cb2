"""Holds containers to a size: looks several times a second and kills a container that has outgrown it.

On the platform the kernel does this, at the moment of the allocation. Here a container may exceed its size for up to
PERIOD_S; a peak that is over by then still counts, so that nothing passes which the platform would have killed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emulator.process_memory import tree_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from emulator.gateway.container import Container

PERIOD_S = 0.1


class MemoryLimit:
    """`limit_bytes` for each of `containers()`: all of a container's processes together."""

    def __init__(self, limit_bytes: int, containers: Callable[[], Collection[Container]]) -> None:
        self._limit_bytes = limit_bytes
        self._containers = containers

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.gather(*(self._look(each) for each in list(self._containers()) if each.pid))
            await asyncio.sleep(PERIOD_S)

    async def _look(self, container: Container) -> None:
        held_bytes = await asyncio.to_thread(tree_bytes, (container.pid,))  # milliseconds, in which nothing would pass
        container.peak_bytes = max(container.peak_bytes or 0, held_bytes)
        if held_bytes > self._limit_bytes:
            container.kill_for_memory(held_bytes)
