"""Messages as a file: streamed, and broken off noticeably where a store fails on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Response, request

from store.clock import wall_ms
from store.export.formats import FORMATS, MEDIA_TYPES
from store.export.selection import Place, Selection
from store.times import MAX_TIME_MS, rfc3339
from web import current
from web.api import parameters
from web.api.blueprint import blueprint
from web.errors import ApiError
from web.exports import EXPORTS_AT_ONCE, TooManyExportsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.export.formats import Format

TOO_MANY = f"This process serves {EXPORTS_AT_ONCE} exports at once; wait until one has ended."
HTTP_1_0 = "An export needs HTTP/1.1: before it, a file that is cut cannot be told from a whole one."


@blueprint.get("/export")
def export() -> Response:
    """Stream the messages of a selection, by device and id."""
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        raise ApiError(505, "http_version_not_supported", HTTP_1_0)
    name = cast("Format", parameters.choice("format", FORMATS, FORMATS[0]))
    blocks = _begin(_selection(), name)
    response = Response(blocks, mimetype=MEDIA_TYPES[name], headers={"X-Accel-Buffering": "no"})
    moment = rfc3339(wall_ms())[:19].replace(":", "").replace("-", "")
    response.headers.set("Content-Disposition", "attachment", filename=f"messages-{moment}Z.{name}")
    return response


def _begin(selection: Selection, name: Format) -> Iterator[bytes]:
    try:
        return current.exports().begin(selection, name)
    except TooManyExportsError:
        raise ApiError(503, "too_many_exports", TOO_MANY) from None


def _selection() -> Selection:
    from_ms, to_ms = parameters.time_ms("from", 0), parameters.end_ms("to", MAX_TIME_MS + 1)
    parameters.require_order(from_ms, to_ms)
    return Selection(
        devices=frozenset(filter(None, request.args.getlist("device"))),
        search=request.args.get("search", ""),
        topic=parameters.selection().topic_filter,
        from_ms=from_ms,
        to_ms=to_ms,
        after=_after(),
    )


def _after() -> Place | None:
    text = request.args.get("after", "")
    try:
        return Place.parse(text) if text else None
    except ValueError:
        raise parameters.bad("after has to be DEVICE,ID of the last line received.") from None
