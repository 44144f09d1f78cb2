"""One stored message on its way to subscribers: encoded once for all that get the same bytes (MQTT 5.0 §3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire.packet_types import PacketType
from broker.wire.primitives import encode_variable_byte_integer
from broker.wire.properties import encode_properties, read_stored_properties

if TYPE_CHECKING:
    from broker.protocol.topic_aliases import TopicAlias
    from store.model import Message

NO_PROPERTIES = b"\x00"
NO_NAME = b"\x00\x00"


APART_BYTES = 2 * 1024
"""A payload that is larger is not copied into each subscriber's packet."""


class SplitPacket:
    """A PUBLISH packet in two parts: the second is the same object for all subscribers."""

    __slots__ = ("head", "payload")

    def __init__(self, head: bytes, payload: memoryview) -> None:
        self.head = head
        self.payload = payload

    def __len__(self) -> int:
        """Return the size of the packet."""
        return len(self.head) + len(self.payload)


class OutgoingPublish:
    """A message and its encodings. `received_at` is on the broker's monotonic clock, in seconds."""

    __slots__ = (
        "_expires_at",
        "_for_all",
        "_payload_apart",
        "_topic",
        "holders",
        "message",
        "received_at",
        "size_bytes",
    )

    def __init__(self, message: Message, received_at: float) -> None:
        topic = message.topic_name.encode()
        self.message = message
        self.received_at = received_at
        self.holders = 0  # deliveries that keep it in memory
        self._topic = len(topic).to_bytes(2, "big") + topic
        self._for_all: dict[tuple[bool, bool], bytes | SplitPacket] = {}
        self._payload_apart = memoryview(message.payload) if len(message.payload) > APART_BYTES else None
        self.size_bytes = len(topic) + len(message.payload) + len(message.properties) + 16
        self._expires_at = _expiry(message, received_at)

    def is_expired(self, now: float) -> bool:
        """Whether its Message Expiry Interval has passed [v5 MQTT-3.3.2-5]."""
        return now >= self._expires_at

    def for_everyone(self, *, is_v5: bool, is_retain: bool) -> bytes | SplitPacket:
        """Return the QoS 0 packet that subscribers without a subscription identifier share, as it is right after receipt."""
        encoded = self._for_all.get((is_v5, is_retain))
        if encoded is None:
            encoded = self._for_all[is_v5, is_retain] = self.encode(self.received_at, is_v5=is_v5, is_retain=is_retain)
        return encoded

    def encode(
        self,
        now: float,
        *,
        is_v5: bool,
        is_retain: bool,
        qos: int = 0,
        packet_id: int = 0,
        is_dup: bool = False,
        subscription_identifiers: tuple[int, ...] = (),
        topic_alias: TopicAlias | None = None,
    ) -> bytes | SplitPacket:
        """Return the PUBLISH packet for one subscriber; the expiry interval is counted down [v5 MQTT-3.3.2-6]."""
        flags = PacketType.PUBLISH << 4 | is_dup << 3 | qos << 1 | is_retain
        head = NO_NAME if topic_alias is not None and topic_alias.is_defined else self._topic
        if qos:
            head += packet_id.to_bytes(2, "big")
        if is_v5:
            head += self._properties(now, subscription_identifiers, topic_alias)
        payload = self.message.payload
        fixed_header = bytes((flags,)) + encode_variable_byte_integer(len(head) + len(payload))
        if self._payload_apart is not None:
            return SplitPacket(fixed_header + head, self._payload_apart)
        return b"".join((fixed_header, head, payload))

    def _properties(
        self, now: float, subscription_identifiers: tuple[int, ...], topic_alias: TopicAlias | None
    ) -> bytes:
        stored = self.message.properties
        is_aging = self._expires_at != float("inf") and now - self.received_at >= 1
        if not subscription_identifiers and not is_aging and topic_alias is None:
            return stored or NO_PROPERTIES
        properties = read_stored_properties(stored)
        if is_aging:
            properties["message_expiry_interval"] = max(1, int(self._expires_at - now))
        if subscription_identifiers:
            properties["subscription_identifier"] = list(subscription_identifiers)
        if topic_alias is not None:
            properties["topic_alias"] = topic_alias.number
        return encode_properties(properties)


def _expiry(message: Message, received_at: float) -> float:
    if not message.properties:
        return float("inf")
    interval = read_stored_properties(message.properties).get("message_expiry_interval")
    return float("inf") if interval is None else received_at + interval
