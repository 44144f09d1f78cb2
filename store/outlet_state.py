"""What an outlet of the ingest log (MongoDB, InfluxDB) says of itself, for the dashboard and for whoever trims the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from store import schema
from store.model import MessageId

if TYPE_CHECKING:
    from redis import Redis

    from settings import Settings

MONGODB = "mongodb"
INFLUXDB = "influxdb"
HOLDING_OUTLETS = frozenset({MONGODB})
"""Outlets that hold the log: what they have not taken stays there, and publishers are slowed when it grows too long."""


class OutletSize(NamedTuple):
    """What an outlet holds, as in `OutletState`; zeros where unknown."""

    documents: int = 0
    bytes: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True)
class OutletState:
    """`position`: id of the last message written (None: none yet); `lag_ms`: age of the oldest message that waits.

    `error`: why it does not write now, in words (empty: it does), since `error_since_ms`. `lost`: messages that went by
    it, or that it does not take. `documents`, `bytes` (uncompressed) and `stored_bytes` (on its disk): what it holds, as
    it last looked; 0 where unknown. `updated_ms`: when it last said anything (0: never).
    """

    name: str
    position: MessageId | None
    lag_ms: int
    error: str
    error_since_ms: int
    written: int
    lost: int
    documents: int
    bytes: int
    stored_bytes: int
    updated_ms: int


def outlet_names(settings: Settings) -> list[str]:
    """Return the outlets that the settings ask for."""
    return [name for name, url in ((MONGODB, settings.mongo_url), (INFLUXDB, settings.influx_url)) if url]


def outlet_states(client: Redis, settings: Settings, now_ms: int) -> list[OutletState]:
    """Return the state of each outlet that the settings ask for (sync read)."""
    return [_state(client, name, now_ms) for name in outlet_names(settings)]


def _state(client: Redis, name: str, now_ms: int) -> OutletState:
    fields: Any = client.hgetall(schema.outlet(name))
    position = MessageId.parse(fields[b"position"].decode()) if b"position" in fields else None
    waiting: Any = client.xrange(schema.LOG, f"({position.log_id}" if position else "-", "+", 1)

    def number(field: str) -> int:
        return int(fields.get(field.encode(), 0))

    return OutletState(
        name=name,
        position=position,
        lag_ms=max(0, now_ms - int(waiting[0][0].partition(b"-")[0])) if waiting else 0,
        error=fields.get(b"error", b"").decode(),
        error_since_ms=number("error_since_ms"),
        written=number("written"),
        lost=number("lost"),
        documents=number("documents"),
        bytes=number("bytes"),
        stored_bytes=number("stored_bytes"),
        updated_ms=number("updated_ms"),
    )
