"""What the store answers, in the API's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.times import rfc3339
from web import payloads

if TYPE_CHECKING:
    from store.answers import Device, DeviceSummary, SeriesPoint, StoredMessage, TopicState

LIVE_PAYLOAD_BYTES = 2048


def time_or_none(ts_ms: int | None) -> str | None:
    """Return a time; None for what has not happened, as with a device that is connected but never sent a message."""
    return rfc3339(ts_ms) if ts_ms else None


def device_summary(row: DeviceSummary) -> dict[str, Any]:
    """Return a row of the list."""
    return {
        "id": row.id,
        "connected": row.is_connected,
        "quiet": row.is_quiet,
        "last_seen": time_or_none(row.last_seen_ms),
        "messages": row.messages,
    }


def device(found: Device) -> dict[str, Any]:
    """Return a device's record."""
    return {
        "id": found.id,
        "connected": found.is_connected,
        "connected_since": time_or_none(found.connected_since_ms),
        "quiet": found.is_quiet,
        "first_seen": time_or_none(found.first_seen_ms),
        "last_seen": time_or_none(found.last_seen_ms),
        "messages": found.messages,
        "bytes": found.bytes,
        "client_id": found.client_id,
        "values": {name: {"value": last.value, "ts": rfc3339(last.ts_ms)} for name, last in found.values.items()},
        "topics": [topic(state) for state in found.topics],
    }


def topic(state: TopicState) -> dict[str, Any]:
    """Return the last message of a topic, without its payload."""
    return {
        "topic": state.topic_name,
        "ts": rfc3339(state.ts_ms),
        "qos": state.qos,
        "retain": state.is_retain,
        "payload_bytes": state.payload_bytes,
    }


def message(found: StoredMessage) -> dict[str, Any]:
    """Return a message of a device's history, its payload whole."""
    return {
        "id": str(found.id),
        "ts": rfc3339(found.ts_ms),
        "topic": found.topic_name,
        "qos": found.qos,
        "retain": found.is_retain,
        "payload": payloads.for_api(found.payload),
    }


def live_message(found: StoredMessage) -> dict[str, Any]:
    """Return a message as it arrives: with its device, its payload cut to LIVE_PAYLOAD_BYTES."""
    head = payloads.head_of(found.payload, LIVE_PAYLOAD_BYTES)
    return {
        **message(found),
        "payload": payloads.for_api(head),
        "device": found.device_id,
        "client_id": found.client_id,
        "payload_bytes": len(found.payload),
        "is_truncated": len(head) < len(found.payload),
    }


def point(bucket: SeriesPoint) -> list[Any]:
    """Return a bucket of a chart."""
    return [rfc3339(bucket.ts_ms), bucket.min, bucket.max, bucket.mean, bucket.count]
