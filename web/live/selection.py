"""Which messages a listener wants: those of one device, those under one topic filter (MQTT 5.0 §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.scan import topic_matches

if TYPE_CHECKING:
    from store.answers import StoredMessage


@dataclass(frozen=True)
class Selection:
    """A device id and a topic filter; empty selects all. Raises ValueError for a filter that MQTT does not allow."""

    device_id: str = ""
    topic_filter: str = ""

    def __post_init__(self) -> None:
        levels = self.topic_filter.split("/")
        if "#" in levels[:-1] or any(level not in "+#" and ("+" in level or "#" in level) for level in levels):
            raise ValueError("+ stands for a whole level and # for the last ones, as in devices/+/state or devices/#")

    def matches(self, message: StoredMessage) -> bool:
        """Return whether the message is wanted."""
        if self.device_id and message.device_id != self.device_id:
            return False
        return not self.topic_filter or topic_matches(self.topic_filter, message.topic_name)
