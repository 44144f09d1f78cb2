"""What all connections of a process share, and the way of a message once it is stored: acknowledged, then delivered."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from broker.cluster.routes import RemoteNode
from broker.host.authentication_queue import AuthenticationQueue
from broker.host.refusals import Refusals
from broker.routing.subscription_tree import Match, SubscriptionTree
from broker.routing.topic_filter import matches
from broker.session.lasting_session import LastingSession
from broker.session.outbox import Outbox
from broker.session.outgoing import OutgoingPublish
from broker.session.session import Delivery, Session, SessionLimits
from broker.session.sessions import Sessions
from broker.session.sharing import Sharing, Subscriber
from broker.session.wills import will_message
from broker.wire.reason_codes import ReasonCode
from store.clock import wall_ms
from store.model import RETAIN_FLAG, Message
from store.session_store import QueueEntry, encode_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.commit.batch import Batch, Queue
    from broker.commit.committer import Committer
    from broker.host.authentication import PasswordAuthenticator
    from broker.host.plugin_host import PluginHost
    from broker.memory_plan import MemoryPlan
    from broker.protocol.limits import ConnectionLimits
    from broker.wire.connect import Will
    from store.commit_log import Operation
    from store.retained import RetainedMessages

log = logging.getLogger(__name__)

NO_SUBSCRIBERS = ReasonCode.NO_MATCHING_SUBSCRIBERS


class Presence(Protocol):
    """Told which clients are connected, and for which topics they publish."""

    def connected(self, client_id: str) -> None:
        """A client has connected."""

    def published(self, client_id: str, topic_name: str) -> None:
        """A connected client has published to a topic for the first time on this connection."""

    def disconnected(self, client_id: str) -> None:
        """A client's connection has ended."""


@dataclass(slots=True)
class Counters:
    """What happened since the process started; shown in $SYS and on the dashboard.

    `messages_delivered`: PUBLISH packets sent to clients, repeats and `$SYS` included.
    """

    connections_opened: int = 0
    connections_refused: int = 0
    connects_rejected: int = 0
    protocol_errors: int = 0
    timeouts: int = 0
    slow_clients_dropped: int = 0
    messages_received: int = 0
    messages_delivered: int = 0
    messages_dropped: int = 0
    publishes_denied: int = 0
    inbox_messages_missed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class MessageBroker:
    """The broker without sockets: sessions, subscriptions, delivery. One per process."""

    def __init__(
        self,
        *,
        node_id: str,
        connection_limits: ConnectionLimits,
        session_limits: SessionLimits,
        max_sessions: int,
        max_session_expiry_s: int,
        authenticator: PasswordAuthenticator,
        presence: Presence,
        plan: MemoryPlan,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.limits = connection_limits
        self.max_session_expiry_s = max_session_expiry_s
        self.authenticator = authenticator
        self.refusals = Refusals(connection_limits.connect_timeout_s)
        self.authentication_queue = AuthenticationQueue(self.refusals, monotonic)
        self.presence = presence
        self.plan = plan
        self.monotonic = monotonic
        self.wall_ms = wall_ms
        self.tree: SubscriptionTree[Subscriber] = SubscriptionTree(plan.topics.limit_bytes * 3 // 4)
        self.counters = Counters()
        self.sharing = Sharing(self)
        self.sessions = Sessions(
            node_id,
            self.tree,
            session_limits,
            max_sessions,
            self._publish_will,
            wall_ms,
            self.counters,
            self.sharing,
            plan,
        )
        self.routes = self.sessions.routes
        self.sys_messages: dict[str, bytes] = {}
        self.plugins: PluginHost | None = None
        self.committer: Committer
        self.retained: RetainedMessages

    # --- a batch leaves, and has been stored

    def prepare(self, batch: Batch) -> None:
        """Add to a commit what its messages put into queues of sessions that last, connected or not, and into inboxes."""
        has_groups = self.tree.group_count > 0 or bool(batch.handed_on)
        has_stored = self.sessions.lasting > 0 or self.routes.has_remote
        if not has_stored and not has_groups:
            return
        outbox = Outbox()
        for index, message in enumerate(batch.messages):
            if has_groups:
                self.sharing.prepare(batch, outbox, index, message)
            if has_stored:
                self._route(batch, outbox, index, message)
        for index, handed_on in enumerate(batch.handed_on, len(batch.messages)):
            self.sharing.prepare_handed_on(batch, outbox, index, handed_on)
        outbox.close(batch)

    def _route(self, batch: Batch, outbox: Outbox, index: int, message: Message) -> None:
        encoded: dict[tuple[int, bool, tuple[int, ...]], bytes] = {}
        for match in self.tree.match(message.topic_name):
            subscriber = match.subscriber
            if isinstance(subscriber, RemoteNode):
                outbox.add(subscriber.node_id, index)
            elif subscriber.is_lasting and message.qos and match.qos and not _is_own(match, message):
                is_retain = message.is_retain and match.retain_as_published
                entry = QueueEntry(message, min(message.qos, match.qos), is_retain, match.subscription_identifiers)
                key = (entry.qos, entry.is_retain, entry.subscription_identifiers)
                if key not in encoded:
                    encoded[key] = encode_entry(entry)
                batch.route_to_queue(cast("Queue", subscriber), entry, encoded[key])
                if message.is_retain and isinstance(subscriber, Session):
                    subscriber.note_live(message, entry.qos)

    def stored(self, batch: Batch, sequence_numbers: list[int] | None) -> None:
        """Acknowledge what is owed, and deliver every message to its subscribers, in order.

        PUBREC goes out before a publisher's own copy and PUBACK behind it: a client that subscribes to what it publishes
        has the message when it is told that the exchange is over.
        """
        for publisher, packet_id in batch.pubrecs:
            publisher.acknowledge_publish(packet_id, 2)
        for then in batch.then:
            then()
        enqueued = [*batch.enqueued, *batch.routed_entries]
        numbers = sequence_numbers if sequence_numbers is not None else [None] * len(enqueued)
        for (queue, entry, entry_bytes), number in zip(enqueued, numbers, strict=True):
            queue.enqueued(number, entry, entry_bytes)
        match, shared = self.tree.match, batch.shared
        now = 0.0
        for index, message in enumerate(batch.messages):
            if subscribers := match(message.topic_name):
                now = now or self.monotonic()
                self._deliver(message, subscribers, now)
            if index in shared:
                self.sharing.deliver(message, shared[index], self.monotonic())
        for index, handed_on in enumerate(batch.handed_on, len(batch.messages)):
            if index in shared:
                self.sharing.deliver(handed_on.message, shared[index], self.monotonic())
        for publisher, packet_id, topic_name in batch.pubacks:
            publisher.acknowledge_publish(packet_id, 1, 0 if self._has_subscribers(topic_name) else NO_SUBSCRIBERS)
        self.counters.messages_received += len(batch.messages)

    def _has_subscribers(self, topic_name: str) -> bool:
        tree = self.tree
        return bool(tree.match(topic_name) or (tree.group_count and tree.match_shared(topic_name)))

    def deliver_here(self, message: Message, now: float) -> None:
        """Send a message that another node has stored to this node's clients; QoS 1 and 2 of sessions that last excepted."""
        if subscribers := self.tree.match(message.topic_name):
            self._deliver(message, subscribers, now)

    def lasting_subscribers(self, message: Message) -> set[LastingSession]:
        """Return this node's sessions in whose queues another node's commit has put a message."""
        return {
            match.subscriber
            for match in (self.tree.match(message.topic_name) if message.qos else ())
            if match.qos and isinstance(match.subscriber, LastingSession)
        }

    def _deliver(self, message: Message, subscribers: tuple[Match[Subscriber], ...], now: float) -> None:
        publish = OutgoingPublish(message, self._received_at(message, now))
        if publish.is_expired(now):
            self.counters.messages_dropped += len(subscribers)
            return
        published_qos, is_retain = message.qos, message.is_retain
        for match in subscribers:
            qos, subscriber = min(published_qos, match.qos), match.subscriber  # [v5 MQTT-3.8.4-8]
            if not isinstance(subscriber, Session) or _is_own(match, message):
                continue
            if qos and subscriber.is_lasting:
                continue  # what a session that lasts gets of QoS 1 and 2 is in its queue since `prepare`
            if is_retain:
                subscriber.note_live(message, qos)
            subscriber.deliver(
                Delivery(
                    publish,
                    qos,
                    is_retain and match.retain_as_published,  # [v5 MQTT-3.3.1-12], [v5 MQTT-3.3.1-13]
                    match.subscription_identifiers,
                ),
                now,
            )

    def _received_at(self, message: Message, now: float) -> float:
        return now - max(0, self.wall_ms() - message.received_ms) / 1000

    # --- messages that no connection brings

    def _publish_will(self, client_id: str, will: Will, clear: Operation) -> None:
        self.committer.add(will_message(client_id, will, self.wall_ms()), operations=[clear])

    def publish_sys(self, values: dict[str, object]) -> None:
        """Replace the `$SYS` messages and deliver them; they are neither stored nor acknowledged."""
        now = self.monotonic()
        for topic_name, value in values.items():
            payload = self.sys_messages[topic_name] = str(value).encode()
            if subscribers := self.tree.match(topic_name):
                self._deliver(Message(topic_name, "", self.wall_ms(), 0, payload), subscribers, now)

    def sys_messages_of(self, topic_filter: str) -> list[Message]:
        """Return the `$SYS` messages that a new subscription is sent."""
        if not topic_filter.startswith("$SYS"):
            return []
        return [
            Message(topic_name, "", self.wall_ms(), RETAIN_FLAG, payload)
            for topic_name, payload in self.sys_messages.items()
            if matches(topic_filter, topic_name)
        ]

    def outgoing(self, message: Message, now: float) -> OutgoingPublish:
        """Return a stored message ready to be sent."""
        return OutgoingPublish(message, self._received_at(message, now))


def _is_own(match: Match[Subscriber], message: Message) -> bool:
    return match.is_no_local and match.subscriber.client_id == message.client_id  # [v5 MQTT-3.8.3-3]
