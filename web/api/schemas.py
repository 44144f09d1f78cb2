"""Shapes of the API's answers, as JSON Schema; a test holds real answers against them."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
TEXT_OR_NULL = {"type": ["string", "null"]}
COUNT_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}
TIME = {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000Z"]}
TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
IS_PARTIAL = {"type": "boolean", "description": "The long history did not answer: ask again later for what is older."}
NEXT = {"type": ["string", "null"], "description": "Continues after the last row; null at the end."}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _row(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


_SHEDDING = _object(
    now={"type": ["string", "null"], "description": "log, history or rollups; nothing: there is nothing left to shed"},
    since=TIME_OR_NULL,
    history_reaches_back_to=TIME_OR_NULL,
    messages=COUNT,
    bytes=COUNT,
    rollups=COUNT,
    log_bytes=COUNT,
)
_GROWTH = _object(over_s=COUNT, bytes_per_hour={"type": "integer"}, seconds_to_shedding=COUNT_OR_NULL)
_OUTLET = _object(
    name=TEXT,
    error=TEXT_OR_NULL,
    error_since=TIME_OR_NULL,
    written_up_to=TIME_OR_NULL,
    lag_ms=COUNT,
    written=COUNT,
    lost=COUNT,
    documents=COUNT,
    bytes=COUNT,
    stored_bytes=COUNT,
    updated=TIME_OR_NULL,
)
_MESSAGE = {"id": TEXT, "ts": TIME, "topic": TEXT, "qos": COUNT, "retain": FLAG, "payload": _ref("Payload")}

SCHEMAS: dict[str, Any] = {
    "Error": _object(error=_object(code=TEXT, message=TEXT)),
    "Fleet": _object(
        devices=_object(total=COUNT, online=COUNT, quiet=COUNT),
        messages=COUNT,
        bytes=COUNT,
        rate=_list(_row(TIME, NUMBER)),
    ),
    "DeviceSummary": _object(id=TEXT, connected=FLAG, quiet=FLAG, last_seen=TIME_OR_NULL, messages=COUNT),
    "DeviceList": _object(devices=_list(_ref("DeviceSummary")), next=NEXT),
    "Value": _object(value={"type": ["string", "number", "boolean", "null"]}, ts=TIME),
    "Topic": _object(topic=TEXT, ts=TIME, qos=COUNT, retain=FLAG, payload_bytes=COUNT),
    "Device": _object(
        id=TEXT,
        connected=FLAG,
        connected_since=TIME_OR_NULL,
        quiet=FLAG,
        first_seen=TIME_OR_NULL,
        last_seen=TIME_OR_NULL,
        messages=COUNT,
        bytes=COUNT,
        client_id=TEXT,
        values={"type": "object", "additionalProperties": _ref("Value")},
        topics=_list(_ref("Topic")),
    ),
    "Payload": {
        "oneOf": [
            {**_object(text=TEXT), "description": "UTF-8; `json` as well where it parses."},
            {**_object(base64={"type": "string", "contentEncoding": "base64"}), "description": "Anything else."},
        ]
    },
    "Message": _object(**_MESSAGE),
    "MessageList": _object(messages=_list(_ref("Message")), next=NEXT, is_partial=IS_PARTIAL),
    "LiveMessage": _object(**_MESSAGE, device=TEXT, client_id=TEXT, payload_bytes=COUNT, is_truncated=FLAG),
    "Recent": _object(messages=_list(_ref("LiveMessage")), position=TEXT, skipped=COUNT, has_gap=FLAG),
    "Series": _object(points=_list(_row(TIME, NUMBER, NUMBER, NUMBER, COUNT)), is_partial=IS_PARTIAL),
    "Storage": _object(
        used_bytes=COUNT,
        budget_bytes=COUNT_OR_NULL,
        is_full=FLAG,
        growth={**_GROWTH, "type": ["object", "null"]},
        shedding=_SHEDDING,
        kinds=_list(
            _object(
                name=TEXT,
                count=COUNT,
                bytes=COUNT,
                most_bytes=COUNT_OR_NULL,
                settings={"type": "object", "additionalProperties": COUNT},
            )
        ),
        outlets=_list(_OUTLET),
    ),
    "Document": {"type": "object"},
}
