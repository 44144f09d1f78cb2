"""Which messages an export is to hold, and in which order. Pure.

The order is by device (the bytes of its name), then by id; so a device and an id say where an export was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from store.model import MessageId
from store.scan import LAST_ID, LATE_MS, topic_matches
from store.times import MAX_TIME_MS

if TYPE_CHECKING:
    from store.model import Message


class Place(NamedTuple):
    """Where a message stands in an export."""

    device_id: str
    message_id: MessageId

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `DEVICE,ID`; the device's name may hold commas. Raises ValueError for anything else."""
        device_id, comma, message_id = text.rpartition(",")
        if not comma or not device_id:
            raise ValueError(f"{text!r} is not DEVICE,ID")
        return cls(device_id, MessageId.parse(message_id))


@dataclass(frozen=True)
class Selection:
    """Messages of `devices` (none: all whose name begins with `search`), received from `from_ms` to before `to_ms`.

    `topic`: a topic name or filter; "": all. `after`: only what follows this place.
    """

    devices: frozenset[str] = field(default_factory=frozenset)
    search: str = ""
    topic: str = ""
    from_ms: int = 0
    to_ms: int = MAX_TIME_MS + 1
    after: Place | None = None

    def wants(self, message: Message) -> bool:
        """Whether a message of the range is one of these, whatever device it is of."""
        if not self.from_ms <= message.received_ms < self.to_ms:
            return False
        return not self.topic or topic_matches(self.topic, message.topic_name)

    def has_device(self, device_id: str) -> bool:
        """Whether a device's messages are wanted, some of them at least."""
        if self.after is not None and device_id.encode() < self.after.device_id.encode():
            return False
        return device_id in self.devices if self.devices else device_id.startswith(self.search)

    def ids(self, device_id: str) -> tuple[MessageId, MessageId]:
        """Return between which ids (both left out) a device's messages of the range lie."""
        first = MessageId(max(0, self.from_ms - LATE_MS), 0)
        if self.after is not None and self.after.device_id == device_id:
            first = max(first, self.after.message_id)
        return first, min(MessageId(self.to_ms + LATE_MS, 0), LAST_ID)
