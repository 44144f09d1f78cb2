"""Shared subscriptions at work: one member of a group for each message, another one when it leaves (MQTT 5.0 §4.8.2).

A message's member is chosen when its commit leaves, so that what a member that lasts gets is in its queue with the same
commit. What a session that ends had not acknowledged goes to another member, where `may_go_to_another` says so: chosen by
the next commit, which is also the one that takes it out of this node's inbox, so that it is handed on once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from broker.cluster.routes import RemoteNode, RemoteSession
from broker.commit.batch import HandedOn, SharedDelivery
from broker.routing.shared_subscription import may_go_to_another
from broker.session.session import Delivery, Session
from store.session_store import QueueEntry, encode_entry

if TYPE_CHECKING:
    from broker.commit.batch import Batch, Queue
    from broker.routing.subscription_tree import Match
    from broker.session.message_broker import MessageBroker
    from broker.session.outbox import Outbox
    from store.model import Message

Subscriber = Session | RemoteNode | RemoteSession
"""What stands in the subscription tree."""


class Sharing:
    """Hands messages to members of groups."""

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker

    # --- a batch leaves, and has been stored

    def prepare(self, batch: Batch, outbox: Outbox, index: int, message: Message) -> None:
        """Choose a member of each group that shares a matching filter; put its copy into its queue or its node's inbox."""
        for group in self._broker.tree.match_shared(message.topic_name):
            member = group.choose(_is_ready)
            if member is not None:
                self._give(batch, outbox, index, message, group.shared_filter, member)

    def prepare_handed_on(self, batch: Batch, outbox: Outbox, index: int, handed_on: HandedOn) -> None:
        """Do the same for a message that another member leaves."""
        message, shared_filter, is_near = handed_on
        group = self._broker.tree.shared_group(shared_filter)
        member = None
        if group is not None and is_near:
            member = group.choose(lambda each: each.is_local and _is_ready(each))
        if group is not None and (member is None or not member.subscriber.is_local):
            member = group.choose(_is_ready)
        if member is None:
            self._broker.counters.messages_dropped += 1
        else:
            self._give(batch, outbox, index, message, shared_filter, member)

    def _give(
        self, batch: Batch, outbox: Outbox, index: int, message: Message, shared_filter: str, member: Match[Subscriber]
    ) -> None:
        subscriber = member.subscriber
        if subscriber.is_lasting and message.qos and member.qos:
            entry = _entry(message, member, shared_filter)
            batch.route_to_queue(cast("Queue", subscriber), entry, encode_entry(entry))
        elif isinstance(subscriber, RemoteNode):
            outbox.share(subscriber.node_id, index, shared_filter)
        elif isinstance(subscriber, Session) and subscriber.attachment is not None:
            batch.shared.setdefault(index, []).append(SharedDelivery(shared_filter, member))
        else:  # QoS 0 for a session whose client is away, and nobody else is there
            self._broker.counters.messages_dropped += 1

    def deliver(self, message: Message, deliveries: list[SharedDelivery], now: float) -> None:
        """Send a message to those that `prepare` chose; one that has left meanwhile is replaced."""
        for shared_filter, member in deliveries:
            if member.subscriber.attachment is None:
                self.to_another(message, shared_filter)
            else:
                self._send(message, shared_filter, member, now)

    # --- a member leaves

    def session_ended(self, session: Session) -> None:
        """Give what a session without a queue in the store had not acknowledged to other members, in order."""
        sent = [(each, True) for each in session.in_flight.values() if not each.is_released]
        for delivery, is_sent in [*sent, *((each, False) for each in session.queue)]:
            if delivery.shared_filter and may_go_to_another(delivery.qos, is_sent=is_sent):
                self.to_another(delivery.publish.message, delivery.shared_filter)

    def left_in_queue(self, left: list[tuple[QueueEntry, bool]]) -> None:
        """Do the same for one whose queue was in the store: each entry, and whether it was sent."""
        for entry, is_sent in left:
            if entry.shared_filter and may_go_to_another(entry.qos, is_sent=is_sent):
                self.to_another(entry.message, entry.shared_filter)

    def to_another(self, message: Message, shared_filter: str) -> None:
        """Give a message to a member, at whatever node."""
        self._broker.committer.hand_on(HandedOn(message, shared_filter, is_near=False))

    def to_member_here(self, message: Message, shared_filter: str) -> None:
        """Give a message that another node has sent to this one to a member here, or to any where none is left here."""
        self._broker.committer.hand_on(HandedOn(message, shared_filter, is_near=True))

    def _send(self, message: Message, shared_filter: str, member: Match[Session], now: float) -> None:
        publish = self._broker.outgoing(message, now)
        if publish.is_expired(now):
            self._broker.counters.messages_dropped += 1
            return
        is_retain = message.is_retain and member.retain_as_published
        qos = min(message.qos, member.qos)  # [v5 MQTT-4.8.2-3]
        delivery = Delivery(publish, qos, is_retain, member.subscription_identifiers)
        delivery.shared_filter = shared_filter
        member.subscriber.deliver(delivery, now)


def _is_ready(subscriber: Subscriber) -> bool:
    """Another node counts with those of its members that are connected; its sessions are asked last."""
    if not isinstance(subscriber, Session):
        return isinstance(subscriber, RemoteNode)
    attachment = subscriber.attachment
    return attachment is not None and attachment.is_writable and not subscriber.is_queue_half_full


def _entry(message: Message, member: Match[Any], shared_filter: str) -> QueueEntry:
    is_retain = message.is_retain and member.retain_as_published
    qos = min(message.qos, member.qos)  # [v5 MQTT-4.8.2-3]
    return QueueEntry(message, qos, is_retain, member.subscription_identifiers, shared_filter)
