"""What the store holds and what bounds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.times import rfc3339
from web import current
from web.api.blueprint import blueprint
from web.shapes import time_or_none
from web.storage.kinds import KINDS

if TYPE_CHECKING:
    from settings import Settings
    from store.capacity import Growth, Use
    from store.outlet_state import OutletState
    from store.retention_state import RetentionState


@blueprint.get("/storage")
def storage() -> dict[str, Any]:
    """Return the use of Redis by kind of data, what was shed, and the state of the outlets."""
    query, settings = current.query(), current.settings()
    found = query.capacity()
    return {
        "used_bytes": found.used_bytes,
        "budget_bytes": found.budget_bytes or None,
        "is_full": found.is_full,
        "growth": _growth(found.growth),
        "shedding": _shedding(found.retention),
        "kinds": [_use(use, settings) for use in found.uses],
        "outlets": [_outlet(state) for state in query.outlets()],
    }


def _growth(growth: Growth | None) -> dict[str, Any] | None:
    if growth is None:
        return None
    return {
        "over_s": growth.over_s,
        "bytes_per_hour": growth.bytes_per_hour,
        "seconds_to_shedding": growth.to_shedding_s,
    }


def _shedding(state: RetentionState) -> dict[str, Any]:
    return {
        "now": state.shedding or None,
        "since": time_or_none(state.since_ms),
        "history_reaches_back_to": time_or_none(state.reaches_ms),
        "messages": state.messages,
        "bytes": state.bytes,
        "rollups": state.rollups,
        "log_bytes": state.log_bytes,
    }


def _use(use: Use, settings: Settings) -> dict[str, Any]:
    bounds = {name: getattr(settings, name.lower()) for name in KINDS[use.name].settings}
    return {
        "name": use.name,
        "count": use.count,
        "bytes": use.bytes,
        "most_bytes": use.most_bytes,
        "settings": bounds,
    }


def _outlet(state: OutletState) -> dict[str, Any]:
    return {
        "name": state.name,
        "error": state.error or None,
        "error_since": time_or_none(state.error_since_ms if state.error else 0),
        "written_up_to": rfc3339(state.position.ms) if state.position else None,
        "lag_ms": state.lag_ms,
        "written": state.written,
        "lost": state.lost,
        "documents": state.documents,
        "bytes": state.bytes,
        "stored_bytes": state.stored_bytes,
        "updated": time_or_none(state.updated_ms),
    }
