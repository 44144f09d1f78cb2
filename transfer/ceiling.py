"""Up to which id messages can be imported: a device's position must not pass what the log still has for it (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.model import START, MessageId
from store.outlet_state import MONGODB
from store.times import rfc3339

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from settings import Settings


class Ceiling:
    """`id`: messages below it can be imported, for good: whatever is published later has a greater one."""

    def __init__(self, client: Redis, settings: Settings) -> None:
        self.id = START
        self._redis: Any = client
        self._readers = [schema.FLEET, *([schema.outlet(MONGODB)] if settings.mongo_url else [])]
        self._clock = START

    async def measure(self) -> None:
        """Look at the store's clock, and at what the log holds that the views or MongoDB do not have yet."""
        seconds, microseconds = await self._redis.eval("return redis.call('TIME')", 1, schema.LOG)
        self._clock = MessageId(int(seconds) * 1000 + int(microseconds) // 1000, 0)
        self.id = min([self._clock, *[await self._waiting(key) for key in self._readers]])

    def check(self, message_id: MessageId) -> None:
        """Raise ValueError, which says what to do, for a message that is not below the ceiling."""
        if message_id == START:
            raise ValueError(f"{message_id} is no message's id")
        if message_id >= self._clock:
            raise ValueError(
                f"its id {message_id} is newer than the clock of the store, {rfc3339(self._clock.ms)}: messages of devices "
                "would be taken for old ones. Compare the clocks; or wait, and import again"
            )
        if message_id >= self.id:
            raise ValueError(
                f"its id {message_id} is newer than messages in the log that wait since {rfc3339(self.id.ms)}: see that "
                "the broker runs and its stores answer, and import again"
            )

    async def _waiting(self, key: str) -> MessageId:
        """Return the oldest message of the log behind the position at `key`; the clock where none waits."""
        position = await self._redis.hget(key, "position")
        after = START if position is None else MessageId.parse(position.decode())
        entries: Any = await self._redis.xrange(schema.LOG, f"({after.log_id}", "+", 1)
        return MessageId.of(entries[0][0], 0) if entries else self._clock
