"""Wills: as clients set them, as messages, and as the store keeps them in case this node dies (MQTT 5.0 §3.1.2.5)."""

from __future__ import annotations

from broker.wire.connect import Will
from broker.wire.properties import Properties, encode_properties, read_stored_properties
from store.cluster import StoredWill, WillMessage
from store.model import RETAIN_FLAG

NOT_FORWARDED = ("topic_alias", "subscription_identifier", "will_delay_interval")


def forwarded_properties(properties: Properties) -> bytes:
    """Return the properties that travel on with a message [v5 MQTT-3.3.2-17], as they stand on the wire; b"" for none."""
    if not properties:
        return b""
    kept = {name: value for name, value in properties.items() if name not in NOT_FORWARDED}
    return encode_properties(kept) if kept else b""


WILL_OVERHEAD_BYTES = 600
"""What a will takes besides its texts: its fields and properties as objects, the session's part of the store's operations."""


def will_bytes(will: Will) -> int:
    """Return what a will takes in memory, about."""
    properties = sum(len(str(value)) for value in will.properties.values())
    return len(will.topic_name) + len(will.payload) + 2 * properties + WILL_OVERHEAD_BYTES


def will_message(client_id: str, will: Will, received_ms: int) -> WillMessage:
    """Return the message that a will is when it is published."""
    flags = will.qos | (RETAIN_FLAG if will.is_retain else 0)
    return WillMessage(
        will.topic_name, client_id, received_ms, flags, will.payload, forwarded_properties(will.properties)
    )


def will_delay_s(will: Will | None, expiry_interval_s: int) -> int:
    """Return after how many seconds without a connection a will is due: no later than its session's end."""
    return min(will.properties.get("will_delay_interval", 0), expiry_interval_s) if will is not None else 0


def to_store(client_id: str, will: Will, expiry_interval_s: int, due_ms: int = 0) -> StoredWill:
    """Return a will as the store keeps it."""
    return StoredWill(will_message(client_id, will, 0), will_delay_s(will, expiry_interval_s), due_ms)


def from_store(stored: StoredWill) -> Will:
    """Return a will as its client set it, for the session that it belongs to."""
    message = stored.message
    properties = read_stored_properties(message.properties)
    properties["will_delay_interval"] = stored.delay_s
    return Will(message.topic_name, message.payload, message.qos, message.is_retain, properties)
