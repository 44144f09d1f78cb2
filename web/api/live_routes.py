"""Messages as they arrive: an event stream, and polling for when no stream is to spare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, current_app, request

from store.model import MessageId
from web import current, shapes
from web.api import parameters
from web.api.blueprint import blueprint
from web.errors import ApiError
from web.live.events import EventStream
from web.live.tailer import TooManyStreamsError

if TYPE_CHECKING:
    from store.answers import StoredMessage
    from web.live.listener import Listener
    from web.live.selection import Selection

RECENT_MESSAGES = 50
RESUMED_MESSAGES = 500
TOO_MANY = "This process serves as many streams as it may (LIVE_STREAMS). Poll /api/v1/live/recent instead."


@blueprint.get("/live")
def live() -> Response:
    """Stream messages from now on, or from after Last-Event-ID (or `after`)."""
    selection, after = parameters.selection(), _resume_after()
    tailer = current.tailer()
    listener = _listen(selection)
    try:
        backlog = _backlog(selection, after) if after else []
    except BaseException:
        tailer.leave(listener)
        raise
    stream = EventStream(tailer, listener, backlog, current_app.config["LIVE_HEARTBEAT_S"])
    response = Response(iter(stream), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(lambda: tailer.leave(listener))
    return response


@blueprint.get("/live/recent")
def live_recent() -> dict[str, Any]:
    """Return the newest messages, or up to 50 of those after `after`; oldest first."""
    selection, after = parameters.selection(), parameters.position("after")
    position = current.query().live_end()
    messages = _backlog(selection, after)[-RECENT_MESSAGES:]
    if messages:
        position = max(position, messages[-1].id)
    return {"messages": [shapes.live_message(found) for found in messages], "position": str(position)}


def _listen(selection: Selection) -> Listener:
    try:
        return current.tailer().listen(selection)
    except TooManyStreamsError:
        raise ApiError(503, "too_many_streams", TOO_MANY) from None


def _resume_after() -> MessageId | None:
    last_event_id = request.headers.get("Last-Event-ID", "")
    if not last_event_id:
        return parameters.position("after")
    try:
        return MessageId.parse(last_event_id)
    except ValueError:
        raise parameters.bad("Last-Event-ID has to be the id of an event of this stream.") from None


def _backlog(selection: Selection, after: MessageId | None) -> list[StoredMessage]:
    """Return the wanted messages after `after` that the log still keeps, the newest RESUMED_MESSAGES at most."""
    return [found for found in current.query().live(after, RESUMED_MESSAGES) if selection.matches(found)]
