"""The fleet's counters and rate."""

from __future__ import annotations

from typing import Any

from store.times import rfc3339
from web import current
from web.api.blueprint import blueprint
from web.api.openapi import document

RATE_MINUTES = 15


@blueprint.get("/fleet")
def fleet() -> dict[str, Any]:
    """Return the counters of the overview and the messages per second of the last minutes."""
    counts = current.query().fleet()
    return {
        "devices": {"total": counts.total, "online": counts.online, "quiet": counts.quiet},
        "messages": counts.messages,
        "bytes": counts.bytes,
        "rate": [[rfc3339(ts_ms), per_second] for ts_ms, per_second in current.query().rate(RATE_MINUTES)],
    }


@blueprint.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """Return the description of this API."""
    return document()
