"""Whether Redis has room for more: an import stops before the broker would shed history to make room (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.memory import SHED_TO, fullest, memories

if TYPE_CHECKING:
    from redis.asyncio import Redis


class FullError(Exception):
    """Redis has no room for what is to be imported; the message says what to do."""


async def check_room(client: Redis, store_bytes: int) -> None:
    """Raise FullError where the broker sheds history, or nearly does. Raises redis.RedisError."""
    memory = fullest(await memories(client, store_bytes))
    if memory.share > SHED_TO:
        raise FullError(
            f"Redis uses {memory.used_bytes:,} of {memory.budget_bytes:,} bytes: there is no room for more. Take a larger "
            "plan, or set MONGO_URL, with which Redis keeps only what is recent; then run the import again."
        )
