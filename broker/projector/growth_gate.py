"""Whether views may take more of the store's memory: looked at before each round trip of writes.

used of the budget                        what is written
up to 90 %                                everything
up to 95 %                                everything, while shedding finds something to shed
more                                      nothing until shedding has made room; where nothing is left to shed, or that
                                          takes LONGEST_WAIT_S: what renews views without making them grow
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from store.memory import NEARLY_FULL_ABOVE, REFUSE_ABOVE, fullest, most_devices, most_state_bytes
from store.views import Growth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.memory import Memory

LOOK_S = 0.05
LONGEST_WAIT_S = 10.0


class GrowthGate:
    """Decides for one projector. `devices`: how many there are, as far as known; set it after each admission.

    `look` returns the memory of each master; `is_exhausted` says whether shedding has nothing left; `on_wait` is called now
    and then while the gate waits for shedding.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[dict[str, Memory]]],
        is_exhausted: Callable[[], bool],
        on_wait: Callable[[], Awaitable[None]],
        max_devices: int,
    ) -> None:
        self.devices = 0
        self._look = look
        self._is_exhausted = is_exhausted
        self._on_wait = on_wait
        self._max_devices = max_devices
        self._memories: dict[str, Memory] = {}
        self._full_since_s: float | None = None

    async def growth(self) -> Growth:
        """Return what the next writes may do, once shedding has had its time. Raises redis.RedisError, OSError."""
        while (is_allowed := await self._decide()) is None:
            await asyncio.sleep(LOOK_S)
            await self._on_wait()
        return Growth(is_allowed, most_state_bytes(self._memories, self.devices))

    async def most_devices(self) -> int:
        """Return how many devices there may be, once shedding has had its time. Raises redis.RedisError, OSError.

        Also while views may not grow: a record alone takes less than 1 KiB, so all new ones fit what is kept free above 95 %.
        """
        await self.growth()
        return most_devices(self._memories, self._max_devices)

    async def _decide(self) -> bool | None:
        """Return whether views may grow; None: wait for shedding."""
        self._memories = await self._look()
        share = fullest(self._memories).share
        is_full = share > REFUSE_ABOVE
        now_s = asyncio.get_running_loop().time()
        if not is_full:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        if share <= NEARLY_FULL_ABOVE:
            return True
        if self._is_exhausted():
            return False
        if self._full_since_s is None:
            return True
        return False if now_s - self._full_since_s > LONGEST_WAIT_S else None
