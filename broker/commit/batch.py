"""A batch: messages that reach the store together, and who waits for the answer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from store.model import Message

MESSAGE_OVERHEAD_BYTES = 64


class Publisher(Protocol):
    """Who is told that a message is stored."""

    def acknowledge_publish(self, packet_id: int, qos: int) -> None:
        """Answer the PUBLISH with this packet identifier: PUBACK for QoS 1, PUBREC for QoS 2."""


class Batch:
    """Messages in the order they arrived, the acknowledgements they owe and the retained messages they change."""

    __slots__ = ("acknowledgements", "messages", "retained", "size_bytes")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.acknowledgements: list[tuple[Publisher, int, int]] = []
        self.retained: dict[str, Message | None] = {}
        self.size_bytes = 0

    def add(self, message: Message) -> None:
        """Put a message behind the others."""
        self.messages.append(message)
        self.size_bytes += (
            len(message.payload) + len(message.properties) + len(message.topic_name) + MESSAGE_OVERHEAD_BYTES
        )
        if message.is_retain:
            # [v5 MQTT-3.3.1-5] the last one stays; [v5 MQTT-3.3.1-6] an empty payload clears.
            self.retained[message.topic_name] = message if message.payload else None

    def owe(self, publisher: Publisher, packet_id: int, qos: int) -> None:
        """Note that `publisher` is to be told once the batch is stored."""
        self.acknowledgements.append((publisher, packet_id, qos))
