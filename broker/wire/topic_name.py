"""What a topic name may not be, wherever one stands: PUBLISH, will, Response Topic (MQTT 5.0 §4.7)."""

from __future__ import annotations

from broker.wire.errors import MalformedPacketError
from broker.wire.primitives import check_no_control_characters


def check_no_wildcards(topic_name: str) -> None:
    """Raise MalformedPacketError for a topic name with `#` or `+` [v5 MQTT-3.3.2-2], [v5 MQTT-3.3.2-14]."""
    if "#" in topic_name or "+" in topic_name:
        raise MalformedPacketError("a topic name contains a wildcard character [v5 MQTT-3.3.2-2], [v5 MQTT-4.7.1-1]")


def check_topic_name(topic_name: str) -> None:
    """Raise MalformedPacketError for a topic name that is empty [v5 MQTT-4.7.3-1], has wildcards or control characters."""
    if not topic_name:
        raise MalformedPacketError("a topic name is empty [v5 MQTT-4.7.3-1]")
    check_no_wildcards(topic_name)
    check_no_control_characters(topic_name)
