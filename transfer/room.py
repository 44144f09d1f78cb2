"""Whether Redis has room for more: an import stops before the broker has to shed history, or to refuse messages (async)."""

from __future__ import annotations

from typing import Any

FULL = 0.8  # from here on the dashboard warns


class FullError(Exception):
    """Redis has no room for what is to be imported; the message says what to do."""


async def check_room(client: Any) -> None:
    """Raise FullError where a server of the store has used most of its memory."""
    info = await client.info("memory")
    for each in [info] if "used_memory" in info else info.values():
        used_bytes, max_bytes = int(each["used_memory"]), int(each.get("maxmemory", 0))
        if max_bytes and used_bytes > FULL * max_bytes:
            raise FullError(
                f"Redis uses {used_bytes:,} of {max_bytes:,} bytes: there is no room for more. Take a larger plan, or set "
                "MONGO_URL, with which Redis keeps only what is recent; then run the import again."
            )
