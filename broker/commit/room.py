"""Whether the store has room for what is to be committed: watched, so that commits wait before Redis has to refuse them.

What the wait leaves free is for what makes room again: the views take what the log holds, and old history is shed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import redis

from store import schema
from store.memory import ACCEPT_BELOW, REFUSE_ABOVE, Memory, master_of, memories

if TYPE_CHECKING:
    from redis.asyncio import Redis

LOOK_S = 0.25
SAY_S = 60.0  # between two lines that say the store is full, where that comes and goes

log = logging.getLogger(__name__)


class Room:
    """Looks at the memory of the server that has the log while `run` runs. `is_full`: commits have to wait."""

    def __init__(self, client: Redis, store_bytes: int) -> None:
        self.is_full = False
        self.memory = Memory(0, 0)
        self._redis = client
        self._store_bytes = store_bytes
        self._said_s = float("-inf")
        self._has_said_full = False

    async def run(self) -> None:
        """Look until cancelled; what was seen last stays while the store is away."""
        while True:
            try:
                await self._look()
            except (redis.RedisError, OSError) as error:
                log.debug("Memory of the store not looked at: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        found = await memories(self._redis, self._store_bytes)
        self.memory = found[master_of(self._redis, schema.LOG)]
        if self.is_full and self.memory.share < ACCEPT_BELOW:
            self.is_full = False
            self._say_room()
        elif not self.is_full and self.memory.share > REFUSE_ABOVE:
            self.is_full = True
            self._say_full(asyncio.get_running_loop().time())

    def _say_full(self, now_s: float) -> None:
        if now_s < self._said_s + SAY_S:
            return
        self._said_s, self._has_said_full = now_s, True
        log.warning(
            "The store is full: %d of %d bytes are used. Nothing is acknowledged until there is room; "
            "clients keep their messages meanwhile.",
            *self.memory,
        )

    def _say_room(self) -> None:
        if self._has_said_full:
            self._has_said_full = False
            log.info("The store has room again (%d of %d bytes are used): messages are acknowledged.", *self.memory)
