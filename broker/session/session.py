"""A session: what client and server remember of each other across network connections (MQTT 5.0 §4.1).

Sending QoS 1 and 2 (§4.3): a message is *queued*, then *in flight* under a packet identifier until the client has
acknowledged it. At most `window` are in flight. The queue has bounds in messages, bytes and age: what has expired or waits
for too long is dropped when its turn comes or its room is needed; else what would overflow is, so that what was accepted
earlier is kept. Whatever is dropped is counted. What is queued and in flight is charged to `DeliveryMemory`, which all
sessions share.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from broker.session.outgoing import SplitPacket
from broker.wire.puback import Pubrel
from broker.wire.reason_codes import FAILURE, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.protocol.connection import ServerConnection
    from broker.routing.subscription_tree import SubscriptionOptions
    from broker.session.delivery_gate import DeliveryGate
    from broker.session.delivery_memory import DeliveryMemory
    from broker.session.message_broker import Counters
    from broker.session.outgoing import OutgoingPublish
    from broker.session.retained_lookup import RetainedLookup
    from broker.wire.connect import Will
    from store.commit_log import Operation
    from store.model import Message
    from store.session_store import StoredOptions, Subscriptions

MAX_PACKET_ID = 65_535
NO_QUEUE: deque[Delivery] = deque()  # of the many sessions in which nothing waits: an empty queue takes 600 bytes
DELIVERY_BYTES = 400
"""What a delivery takes besides its message: itself, its publish, its places in dictionaries and queues (CPython 3.11)."""


class Attachment(Protocol):
    """The network connection a session is attached to, as far as sessions care."""

    protocol: ServerConnection
    delivery_gate: DeliveryGate | None

    @property
    def retained_lookups(self) -> Collection[RetainedLookup]:
        """The subscriptions that are not stored yet, whose retained messages will be looked up."""

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes more without its buffer growing past its bound."""

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Tell the client that the message it sent is stored."""

    def send(self, data: bytes | memoryview) -> None:
        """Send one encoded packet, or a part of it, with whatever else this loop turn brings."""

    def close(self, reason_code: ReasonCode) -> None:
        """Tell the client why where its version can, and close."""


@dataclass(slots=True)
class Delivery:
    """One message for one session."""

    publish: OutgoingPublish
    qos: int
    is_retain: bool
    subscription_identifiers: tuple[int, ...] = ()
    is_released: bool = False  # PUBREC came: PUBREL is what is sent again
    queued_at: float = 0.0  # on the broker's monotonic clock
    sequence_number: int = 0  # of its entry in the store, and that entry's size: for a session that lasts
    entry_bytes: int = 0
    retained_version: int | None = None  # of a retained message that a new subscription brings
    shared_filter: str = ""  # of the shared subscription that it came by: goes to another member if this session ends


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of `settings.TABLE` that sessions enforce."""

    send_window: int = 100
    queue_messages: int = 10_000
    queue_bytes: int = 4 * 1024 * 1024
    queue_age_s: int = 7 * 86_400
    max_subscriptions: int = 1000


class Session:
    """One client's session, attached to a network connection or waiting for the next."""

    __slots__ = (
        "_limits", "_memory", "_next_packet_id", "attachment", "client_id", "counters", "expires_at", "expiry_interval_s",
        "held_bytes", "in_flight", "pending_owns", "queue", "queue_bytes", "received", "subscription_bytes", "subscriptions",
        "will", "will_bytes", "will_due_at", "window",
    )  # fmt: skip

    def __init__(self, client_id: str, limits: SessionLimits, counters: Counters, memory: DeliveryMemory) -> None:
        self._limits = limits
        self._memory = memory
        self.held_bytes = 0  # what it has charged to `memory`
        self.counters = counters
        self._next_packet_id = 1
        self.client_id = client_id
        self.attachment: Attachment | None = None
        self.subscriptions: dict[str, SubscriptionOptions] = {}
        self.subscription_bytes = 0
        self.expiry_interval_s = 0
        self.expires_at = float("inf")
        self.will: Will | None = None
        self.will_bytes = 0
        self.will_due_at = float("inf")
        self.pending_owns = 0  # while there are any, that another node served the client is a thing of the past
        self.window = limits.send_window
        self.in_flight: dict[int, Delivery] = {}
        self.queue: deque[Delivery] = NO_QUEUE
        self.queue_bytes = 0
        self.received: dict[int, bool] = {}
        """QoS 2 packet identifiers received and not released; True once their message is stored (§4.3.3)."""

    is_local = True
    """This node serves it: among subscribers of other nodes."""

    is_lasting = False
    """Whether it outlives its connection: then its QoS 1 and 2 messages reach it through the store."""

    is_served = True
    """Whether it stands in the subscription tree: a persistent session does once what the store holds of it is read."""

    @property
    def is_full(self) -> bool:
        """Whether one more subscription would be too many."""
        return len(self.subscriptions) >= self._limits.max_subscriptions

    @property
    def max_window(self) -> int:
        """The largest window this server uses for sending."""
        return self._limits.send_window

    @property
    def is_queue_half_full(self) -> bool:
        """Whether messages that can wait elsewhere (retained ones) should."""
        return len(self.queue) * 2 > self._limits.queue_messages or self.queue_bytes * 2 > self._limits.queue_bytes

    def is_served_here(self) -> None:
        """Note that the store has it that this node serves the client."""
        self.pending_owns -= 1

    # --- receiving QoS 2 (§4.3.3)

    def receive_once(self, packet_id: int) -> bool:
        """Tell whether a QoS 2 PUBLISH is new; one that is stored already gets its PUBREC again."""
        if packet_id not in self.received:
            self.received[packet_id] = False
            return True
        if self.received[packet_id]:
            self.acknowledge_publish(packet_id, 2)
        return False

    def forget_unstored(self) -> None:
        """Forget QoS 2 packet identifiers whose messages are not stored, and will not be."""
        self.received = {packet_id: True for packet_id, is_stored in self.received.items() if is_stored}

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Note that a QoS 2 message is stored and tell the client, on whatever connection it has by now."""
        self.received[packet_id] = True
        if self.attachment is not None:
            self.attachment.acknowledge_publish(packet_id, qos, reason_code)

    def receive_operations(self, packet_id: int) -> tuple[Operation, ...]:  # noqa: ARG002  for sessions that last
        """What the commit of a new QoS 2 message has to note besides."""
        return ()

    def release(self, packet_id: int, answer: Callable[[], None]) -> None:
        """Take PUBREL; `answer` is called when PUBCOMP may be sent, as for an identifier that is free already."""
        if self.received.get(packet_id, False):
            del self.received[packet_id]
        answer()

    def stored_subscriptions(self) -> Subscriptions:
        """Return the subscriptions as the store keeps them."""
        return {topic_filter: stored_options(options) for topic_filter, options in self.subscriptions.items()}

    # --- sending

    def note_live(self, message: Message, qos: int) -> None:
        """Take note of a message that is about to be delivered and is retained by the store."""
        attachment = self.attachment
        if attachment is not None and attachment.retained_lookups and (qos or attachment.is_writable):
            for lookup in attachment.retained_lookups:
                lookup.note(message)

    def deliver(self, delivery: Delivery, now: float) -> None:
        """Send a message, now or when there is room; QoS 0 to nobody or to a full socket is dropped."""
        attachment = self.attachment
        if (
            attachment is not None
            and (gate := attachment.delivery_gate) is not None
            and not gate.lets_through(delivery)
        ):
            return
        if delivery.qos == 0:
            if attachment is None:
                return
            if attachment.is_writable:
                self._send_qos0(attachment, delivery, now)
            else:
                self.counters.messages_dropped += 1
        elif not self._hold(delivery):
            self.counters.messages_dropped += 1
        elif attachment is not None and attachment.is_writable and not self.queue and len(self.in_flight) < self.window:
            self._send(attachment, delivery, now)
        else:
            self._enqueue(delivery, now)

    def send_queued(self, now: float) -> None:
        """Send what waits, as far as window and socket have room."""
        attachment = self.attachment
        while attachment is not None and attachment.is_writable and len(self.in_flight) < self.window:
            self._drop_over(now)
            if not self.queue:
                return
            self._send(attachment, self._dequeue(), now)

    def _send_qos0(self, attachment: Attachment, delivery: Delivery, now: float) -> None:
        publish, protocol = delivery.publish, attachment.protocol
        is_for_one = delivery.subscription_identifiers or protocol.outgoing_aliases is not None
        if is_for_one or now - publish.received_at >= 1:
            data = encode(attachment, delivery, now, 0)
        else:
            data = publish.for_everyone(is_v5=protocol.is_v5, is_retain=delivery.is_retain)
        # `_send_within` without its calls: this runs for each copy of a message, and nearly always one packet is what is sent.
        if data.__class__ is bytes and len(data) <= protocol.client_maximum_packet_bytes:
            attachment.send(data)
            self.counters.messages_delivered += 1
        else:
            self._send_within(attachment, data)

    def _send(self, attachment: Attachment, delivery: Delivery, now: float) -> None:
        packet_id = self._free_packet_id()
        data = encode(attachment, delivery, now, packet_id)
        if self._send_within(attachment, data):
            self.in_flight[packet_id] = delivery
        else:
            self._let_go(delivery)

    def _hold(self, delivery: Delivery) -> bool:
        """Charge the memory that a delivery keeps; False where there is none."""
        publish = delivery.publish
        shared_bytes = publish.size_bytes if publish.holders else 0
        if not self._memory.take_or_evict(self, publish.size_bytes + DELIVERY_BYTES, shared_bytes):
            return False
        publish.holders += 1
        return True

    def _let_go(self, delivery: Delivery) -> None:
        publish = delivery.publish
        publish.holders -= 1
        self._memory.refund(self, publish.size_bytes + DELIVERY_BYTES, publish.size_bytes if publish.holders else 0)

    def forget_deliveries(self) -> None:
        """Keep nothing that was on its way to the client: the session has ended."""
        for delivery in (*self.in_flight.values(), *self.queue):
            self._let_go(delivery)
        self.in_flight.clear()
        self.queue.clear()
        self.queue_bytes = 0

    def _send_within(self, attachment: Attachment, data: bytes | SplitPacket) -> bool:
        if not attachment.protocol.takes(data):
            self.counters.messages_dropped += 1  # [v5 MQTT-3.1.2-25]: as if it had been sent
            return False
        if isinstance(data, SplitPacket):
            attachment.protocol.has_parts = True
            attachment.send(data.head)
            attachment.send(data.payload)
        else:
            attachment.send(data)
        self.counters.messages_delivered += 1
        return True

    def _enqueue(self, delivery: Delivery, now: float) -> None:
        self._drop_over(now)
        size_bytes = delivery.publish.size_bytes
        if len(self.queue) >= self._limits.queue_messages or self.queue_bytes + size_bytes > self._limits.queue_bytes:
            self.counters.messages_dropped += 1
            self._let_go(delivery)
            return
        delivery.queued_at = now
        if not self.queue:
            self.queue = deque()
        self.queue.append(delivery)
        self.queue_bytes += size_bytes

    def _dequeue(self) -> Delivery:
        delivery = self.queue.popleft()
        if not self.queue:
            self.queue = NO_QUEUE
        self.queue_bytes -= delivery.publish.size_bytes
        return delivery

    def _drop_over(self, now: float) -> None:
        while self.queue and self._is_over(self.queue[0], now):
            self._let_go(self._dequeue())
            self.counters.messages_dropped += 1

    def _is_over(self, delivery: Delivery, now: float) -> bool:
        return delivery.publish.is_expired(now) or now - delivery.queued_at > self._limits.queue_age_s

    def _free_packet_id(self) -> int:
        packet_id = self._next_packet_id
        while packet_id in self.in_flight:
            packet_id = packet_id % MAX_PACKET_ID + 1
        self._next_packet_id = packet_id % MAX_PACKET_ID + 1
        return packet_id

    # --- the client's acknowledgements of what was sent

    def acknowledged(self, packet_id: int, qos: int, now: float) -> None:
        """Take PUBACK (`qos` 1) or PUBCOMP (2); one for nothing in flight is ignored, one out of place closes."""
        if self._acknowledge(packet_id, qos) is not None:
            self.send_queued(now)

    def _acknowledge(self, packet_id: int, qos: int) -> Delivery | None:
        """Take the message out of what is in flight and return it; None where this acknowledges nothing."""
        delivery = self.in_flight.get(packet_id)
        if delivery is None:
            return None
        if delivery.qos != qos or (qos == 2 and not delivery.is_released):
            self._out_of_place()
            return None
        self._let_go(delivery)
        return self.in_flight.pop(packet_id)

    def _out_of_place(self) -> None:
        if self.attachment is not None:
            self.attachment.close(ReasonCode.PROTOCOL_ERROR)  # [v5 MQTT-4.13.1-1], [v3.1.1 MQTT-4.8.0-1]

    def pubrec(self, packet_id: int, reason_code: int, now: float) -> None:
        """Take PUBREC: answer PUBREL, or forget the message where the client refused it [v5 MQTT-4.3.3-4]."""
        attachment = self.attachment
        delivery = self.in_flight.get(packet_id)
        if attachment is None:
            return
        if delivery is not None and delivery.qos != 2:
            self._out_of_place()
        elif reason_code >= FAILURE:
            if (refused := self.in_flight.pop(packet_id, None)) is not None:
                self._let_go(refused)
                self.send_queued(now)
        else:
            if delivery is not None:
                delivery.is_released = True
            attachment.send(Pubrel(packet_id).encode(attachment.protocol.version))


def stored_options(options: SubscriptionOptions) -> StoredOptions:
    """Return a subscription's options as the store keeps them."""
    return (
        options.qos,
        options.is_no_local,
        options.retain_as_published,
        options.retain_handling,
        options.subscription_identifier,
    )


def encode(
    attachment: Attachment, delivery: Delivery, now: float, packet_id: int, *, is_dup: bool = False
) -> bytes | SplitPacket:
    """Return the PUBLISH packet of a delivery, in its client's version and with a topic alias where it has one."""
    protocol, topic_name = attachment.protocol, delivery.publish.message.topic_name
    publish = partial(
        delivery.publish.encode,
        now,
        is_v5=protocol.is_v5,
        is_retain=delivery.is_retain,
        qos=delivery.qos,
        packet_id=packet_id,
        is_dup=is_dup,
        subscription_identifiers=delivery.subscription_identifiers,
    )
    aliases = protocol.outgoing_aliases
    alias = aliases.of(topic_name) if aliases is not None else None
    data = publish(topic_alias=alias)
    if aliases is None or alias is None or alias.is_defined:
        return data
    if not protocol.takes(data):
        return publish()  # perhaps it fits without the alias; a packet that is not sent defines none
    aliases.define(topic_name)
    return data
