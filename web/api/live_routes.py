"""Messages as they arrive: an event stream, and polling for when no stream is to spare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, current_app, request

from store.model import MessageId
from web import current, shapes
from web.api import parameters
from web.api.blueprint import blueprint
from web.auth.ended_sessions import ended_check
from web.errors import ApiError
from web.live import backlog
from web.live.events import EventStream
from web.live.tailer import TooManyStreamsError

if TYPE_CHECKING:
    from web.live.listener import Listener
    from web.live.selection import Selection

RECENT_MESSAGES = 50
TOO_MANY = "This process serves as many streams as it may (LIVE_STREAMS). Poll /api/v1/live/recent instead."


@blueprint.get("/live")
def live() -> Response:
    """Stream messages from now on, or from after Last-Event-ID (or `after`)."""
    selection, after = parameters.selection(), _resume_after()
    tailer = current.tailer()
    listener = _listen(selection)
    try:
        missed = backlog.Backlog()
        if after is not None:
            missed = backlog.after(current.query(), selection, str(after), tailer.position)
    except BaseException:
        tailer.leave(listener)
        raise
    heartbeat_s = current_app.config["LIVE_HEARTBEAT_S"]
    stream = EventStream(tailer, listener, missed, heartbeat_s, ended_check())
    response = Response(iter(stream), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(lambda: tailer.leave(listener))
    return response


@blueprint.get("/live/recent")
def live_recent() -> dict[str, Any]:
    """Return the last minute's messages, or those after `after`: the newest 50 of them, oldest first."""
    selection, after = parameters.selection(), parameters.position("after")
    query = current.query()
    if after is None:
        found = backlog.recent(query, selection)
    else:
        found = backlog.after(query, selection, str(after), query.live(None).next)
    shown = found.messages[-RECENT_MESSAGES:]
    return {
        "messages": [shapes.live_message(message) for message in shown],
        "position": found.position,
        "skipped": len(found.messages) - len(shown) if after else 0,
        "has_gap": found.has_gap,
    }


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
