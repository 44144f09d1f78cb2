"""Which messages a new subscription has brought live already, while the store is asked for the retained ones (§3.3.1.3).

The subscription holds from SUBSCRIBE on. What is published to be retained between that and the store's answer is in both, and
is one message: it is sent once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.model import Message


class RetainedLookup:
    """The retained messages of one SUBSCRIBE, as long as they are looked up."""

    __slots__ = ("_live",)

    def __init__(self) -> None:
        self._live: dict[str, tuple[str, int]] = {}

    def note(self, message: Message) -> None:
        """Take note that the client is sent a message, which the store retains."""
        self._live[message.topic_name] = (message.client_id, message.received_ms)

    def has_sent(self, message: Message) -> bool:
        """Tell whether a message from the store is the last that was noted for its topic."""
        return self._live.get(message.topic_name) == (message.client_id, message.received_ms)
