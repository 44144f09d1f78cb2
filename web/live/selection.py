"""Which messages a listener wants: those of one device, those under one topic filter (MQTT 5.0 §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        return not self.topic_filter or matches_topic(self.topic_filter, message.topic_name)


def matches_topic(topic_filter: str, topic_name: str) -> bool:
    """Return whether a topic name matches a topic filter [v5 MQTT-4.7.1-1]."""
    wanted, levels = topic_filter.split("/"), topic_name.split("/")
    if topic_name.startswith("$") and wanted[0] in ("+", "#"):
        return False  # [v5 MQTT-4.7.2-1]
    if wanted[-1] == "#":
        wanted.pop()
        levels, has_enough = levels[: len(wanted)], len(levels) >= len(wanted)
    else:
        has_enough = len(levels) == len(wanted)
    return has_enough and all(level in ("+", name) for level, name in zip(wanted, levels, strict=True))
