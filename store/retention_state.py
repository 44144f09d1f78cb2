"""What retention says of itself, for the dashboard: what was shed to make room, and how the use of memory went (sync reads)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store import schema

if TYPE_CHECKING:
    from redis import Redis

LOG, HISTORY, ROLLUPS, NOTHING = "log", "history", "rollups", "nothing"
"""What is being shed; NOTHING: there is nothing left."""


@dataclass(frozen=True)
class RetentionState:
    """`shedding`: what goes now to make room (LOG, HISTORY, ROLLUPS, NOTHING; empty: nothing has to), since `since_ms`.

    Shed so far, by one broker after the other: `messages` of recent history and their `bytes`, hashes of `rollups`, `log_bytes`.
    `reaches_ms`: no history from before this was left when it was shed, but for devices' newest messages; 0: never shed.
    """

    shedding: str
    since_ms: int
    reaches_ms: int
    messages: int
    bytes: int
    rollups: int
    log_bytes: int


def retention_state(client: Redis) -> RetentionState:
    """Return what was noted last."""
    fields: Any = client.hgetall(schema.RETENTION)

    def number(name: str) -> int:
        return int(fields.get(name.encode(), 0))

    return RetentionState(
        shedding=fields.get(b"shedding", b"").decode(),
        since_ms=number("since_ms"),
        reaches_ms=number("reaches_ms"),
        messages=number("messages"),
        bytes=number("bytes"),
        rollups=number("rollups"),
        log_bytes=number("log_bytes"),
    )


def memory_samples(client: Redis) -> list[tuple[int, int]]:
    """Return (s, bytes used) of the last day, oldest first."""
    samples: Any = client.hgetall(schema.MEMORY)
    return sorted((int(at_s), int(used_bytes)) for at_s, used_bytes in samples.items())
