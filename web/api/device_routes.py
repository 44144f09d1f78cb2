"""Devices, their messages and their charts. An id is one percent-encoded segment of the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import request

from store.answers import MAX_PAGE, MAX_POINTS
from store.clock import wall_ms
from web import current, shapes
from web.api import parameters
from web.api.blueprint import blueprint
from web.errors import ApiError

if TYPE_CHECKING:
    from typing import Literal

    from store.answers import Status

DEFAULT_PAGE = 50
DEFAULT_POINTS = 300
HOUR_MS = 3_600_000


@blueprint.get("/devices")
def devices() -> dict[str, Any]:
    """Return a page of the devices."""
    status = cast("Status | None", parameters.choice("status", ("online", "offline", "quiet")))
    sort = parameters.choice("sort", ("last_seen", "name"), "last_seen")
    limit = parameters.whole_number("limit", DEFAULT_PAGE, MAX_PAGE)
    cursor = request.args.get("cursor") or None
    try:
        found = current.query().devices(
            request.args.get("search", ""), status, limit, cursor, sort=cast("Literal['last_seen', 'name']", sort)
        )
    except ValueError:
        raise parameters.bad("cursor has to be the `next` of a page with the same other parameters.") from None
    return {"devices": [shapes.device_summary(row) for row in found.rows], "next": found.next}


@blueprint.get("/devices/<device:device_id>")
def device(device_id: str) -> dict[str, Any]:
    """Return a device's record."""
    found = current.query().device(device_id)
    if found is None:
        raise _unknown(device_id)
    return shapes.device(found)


@blueprint.get("/devices/<device:device_id>/messages")
def device_messages(device_id: str) -> dict[str, Any]:
    """Return a page of a device's messages, newest first unless `order` says otherwise."""
    limit = parameters.whole_number("limit", DEFAULT_PAGE, MAX_PAGE)
    from_ms, to_ms = parameters.time_ms("from", None), parameters.end_ms("to", None)
    parameters.require_order(from_ms, to_ms)
    question: dict[str, Any] = {
        "before": parameters.end_position("before"),
        "after": parameters.position("after"),
        "topic": request.args.get("topic") or None,
        "field": request.args.get("field") or None,
        "from_ms": from_ms,
        "to_ms": to_ms,
        "order": parameters.choice("order", ("newest", "oldest"), "newest"),
    }
    _require(device_id)
    found = current.query().messages(device_id, limit, **question)
    return {
        "messages": [shapes.message(row) for row in found.rows],
        "next": found.next,
        "is_partial": found.is_partial,
    }


@blueprint.get("/devices/<device:device_id>/series")
def device_series(device_id: str) -> dict[str, Any]:
    """Return one field over time, at most `points` buckets."""
    field = request.args.get("field") or ""
    if not field:
        raise parameters.bad("field has to name a numeric field, as `values` of the device's record does.")
    to_ms = parameters.end_ms("to", wall_ms())
    from_ms = parameters.time_ms("from", max(0, to_ms - HOUR_MS))
    parameters.require_order(from_ms, to_ms)
    points = parameters.whole_number("points", DEFAULT_POINTS, MAX_POINTS)
    _require(device_id)
    found = current.query().series(device_id, field, from_ms, to_ms, points)
    return {"points": [shapes.point(bucket) for bucket in found.points], "is_partial": found.is_partial}


def _require(device_id: str) -> None:
    if current.query().device(device_id) is None:
        raise _unknown(device_id)


def _unknown(device_id: str) -> ApiError:
    return ApiError(404, "not_found", f"No device {device_id!r} has sent a message; GET /api/v1/devices lists them.")
