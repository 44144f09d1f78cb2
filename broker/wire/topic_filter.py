"""What a topic filter may not be, wherever one stands: SUBSCRIBE, UNSUBSCRIBE (MQTT 5.0 §4.7).

How many levels it may have, and what makes a shared one valid, is judged in `broker.routing`.
"""

from __future__ import annotations

from typing import Final

from broker.wire.errors import MalformedPacketError, QuotaExceededError
from broker.wire.primitives import read_name

MOST_FILTERS: Final = 5000
"""Topic filters in one packet. Each costs some microseconds and some hundred bytes, however short it is."""


def check_filter_count(count: int) -> None:
    """Raise QuotaExceededError where one packet has named more topic filters than it may."""
    if count > MOST_FILTERS:
        raise QuotaExceededError(f"more than {MOST_FILTERS} topic filters in one packet")


def read_topic_filter(buffer: bytes, position: int, end: int) -> tuple[str, int]:
    """Read a topic filter: not empty [v5 MQTT-4.7.3-1], wildcards on whole levels, `#` last.

    Raises MalformedPacketError. Reason code 0x8F in SUBACK is for a filter that is «correctly formed but not allowed».
    """
    topic_filter, position = read_name(buffer, position, end)
    if not topic_filter:
        raise MalformedPacketError("a topic filter is empty [v5 MQTT-4.7.3-1]")
    if "#" in topic_filter or "+" in topic_filter:
        levels = topic_filter.split("/")
        if "#" in levels[:-1] or any(("#" in level or "+" in level) and len(level) > 1 for level in levels):
            raise MalformedPacketError("a wildcard has no level of its own [v5 MQTT-4.7.1-1], [v5 MQTT-4.7.1-2]")
    return topic_filter, position
