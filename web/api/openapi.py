"""The API's description as an OpenAPI 3.1 document; a test holds it against the routes."""

from __future__ import annotations

from typing import Any

from store.export.formats import MEDIA_TYPES
from web.api.schemas import SCHEMAS

JSON = "application/json"
ERRORS = {"400": "BadRequest", "401": "Unauthorized", "429": "TooManyFailedLogins", "503": "Unavailable"}


def document() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MQTT dashboard API",
            "version": "1",
            "description": "Reads what devices have sent. Times are RFC 3339, UTC, with milliseconds.",
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"token": []}, {"session": []}],
        "paths": {path: {"get": operation} for path, operation in _paths().items()},
        "components": {
            "schemas": SCHEMAS,
            "responses": _responses(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer", "description": "The setting API_TOKEN."},
                "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "GET only."},
            },
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    device = _parameter("device_id", "The device's id, percent-encoded as one segment.", "string", where="path")
    limit = _parameter("limit", "Rows in the answer, 1 to 1000; 50 unless told.", "integer")
    message_topic = _parameter("topic", "Only messages under this topic name or filter (+ and # as in MQTT).")
    wanted = [
        _parameter("device", "Only messages of this device."),
        _parameter("topic", "Only messages under this topic filter (+ and # as in MQTT)."),
    ]
    return {
        "/api/v1/fleet": _operation("Counters of the fleet, and messages per second of the last 15 minutes", "Fleet"),
        "/api/v1/devices": _operation(
            "List devices",
            "DeviceList",
            _parameter("search", "Only ids that begin with this."),
            _parameter("status", "online, offline or quiet (no message for QUIET_AFTER_S)."),
            _parameter("sort", "last_seen (newest first; the default) or name."),
            limit,
            _parameter("cursor", "The `next` of the page before."),
        ),
        "/api/v1/devices/{device_id}": _operation("One device: presence, last values, topics", "Device", device),
        "/api/v1/devices/{device_id}/messages": _operation(
            "A device's messages, however old. A page may be short, even empty, and have a `next`",
            "MessageList",
            device,
            limit,
            _parameter("order", "newest (first; the default) or oldest."),
            _parameter(
                "before", "A message id or a time: only older ones. Give it the `next` of a page, newest first."
            ),
            _parameter("after", "A message id or a time: only newer ones. Give it the `next` of a page, oldest first."),
            _parameter("from", "A time, or ms since the epoch: only messages received then or later."),
            _parameter("to", "A time, or ms since the epoch: only messages received before."),
            message_topic,
            _parameter("field", "Only messages whose JSON has this field, as in `values` of the device."),
        ),
        "/api/v1/devices/{device_id}/series": _operation(
            "A numeric field over an hour or ten years: [start of bucket, min, max, mean, count] each; a bucket is some whole "
            "minutes, hours or days (UTC) long",
            "Series",
            device,
            _parameter("field", "The field, as in `values` of the device.", is_required=True),
            _parameter("from", "A time, or ms since the epoch; one hour before `to` unless told."),
            _parameter("to", "A time, or ms since the epoch; now unless told."),
            _parameter("points", "Buckets at most, 1 to 2000; 300 unless told.", "integer"),
        ),
        "/api/v1/storage": _operation(
            "What the store holds by kind of data (estimates), what bounds it, what was shed to make room, outlets",
            "Storage",
        ),
        "/api/v1/export": _described(
            "Messages as a file, by device and id, streamed. A response that ends before its last chunk is not whole: go on "
            "with `after`. 503 with code too_many_exports: wait until another one has ended",
            {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()},
            (
                _parameter("format", "ndjson (can be imported again; the default) or csv."),
                _parameter("device", "Only messages of this device; may be given several times."),
                _parameter("search", "Only devices whose id begins with this."),
                message_topic,
                _parameter("from", "A time, or ms since the epoch: only messages received then or later."),
                _parameter("to", "A time, or ms since the epoch: only messages received before."),
                _parameter("after", "DEVICE,ID of a line: only what follows it; CSV then has no header."),
            ),
        ),
        "/api/v1/live": _stream(
            *wanted,
            _parameter("Last-Event-ID", "Continue after this message.", where="header"),
            _parameter("after", "The same, for clients that cannot set headers."),
        ),
        "/api/v1/live/recent": _operation(
            "The last minute's messages, or those after one (the newest 50): for clients without event streams; oldest first",
            "Recent",
            *wanted,
            _parameter("after", "The `position` of the answer before."),
        ),
        "/api/v1/openapi.json": _operation("This document", "Document"),
    }


def _operation(summary: str, schema: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return _described(summary, content, parameters)


def _stream(*parameters: dict[str, Any]) -> dict[str, Any]:
    summary = (
        "Messages as they arrive, as an event stream. Events: message (id: the message's), position (where the stream "
        "stands), skipped (how many came too fast since it opened), gap (some before may be missing), store (whether "
        "the store answers). 503 with code too_many_streams: use /api/v1/live/recent"
    )
    return _described(summary, {"text/event-stream": {"schema": {"type": "string"}}}, parameters)


def _described(summary: str, content: dict[str, Any], parameters: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    errors = dict(ERRORS)
    if any(parameter["in"] == "path" for parameter in parameters):
        errors["404"] = "NotFound"
    responses = {status: {"$ref": f"#/components/responses/{name}"} for status, name in sorted(errors.items())}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": "The answer.", "content": content}, **responses},
    }


def _parameter(
    name: str, description: str, type_name: str = "string", *, where: str = "query", is_required: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": is_required or where == "path",
        "description": description,
        "schema": {"type": type_name},
    }


def _responses() -> dict[str, Any]:
    described = {
        "BadRequest": "A parameter cannot be used; the message says what to do.",
        "Unauthorized": "No credentials, or wrong ones.",
        "NotFound": "There is no such device.",
        "TooManyFailedLogins": "Too many wrong credentials from this address: wait as long as Retry-After says.",
        "Unavailable": "The store does not answer (store_unavailable), or the long history, which alone may have it, does not "
        "(long_history_unavailable), or no stream is to spare (too_many_streams).",
    }
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {name: {"description": text, "content": content} for name, text in described.items()}
