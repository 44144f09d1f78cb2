"""All sessions of this process: opening with takeover, detaching with wills, expiry (MQTT 5.0 §3.1.2.11.2, §3.1.4, §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.cluster.routes import Routes
from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions, subscription_bytes
from broker.session import wills
from broker.session.delivery_memory import DeliveryMemory
from broker.session.lasting_session import Backing, LastingSession
from broker.session.session import Attachment, Session, SessionLimits, stored_options
from broker.wire.reason_codes import ReasonCode
from store import cluster, session_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.memory_plan import MemoryPlan
    from broker.routing.subscription_tree import SubscriptionTree
    from broker.session.message_broker import Counters
    from broker.session.sharing import Sharing
    from broker.wire.connect import Will
    from store.cluster import StoredWill
    from store.commit_log import Change, Operation
    from store.session_store import StoredSession, Subscriptions

NEVER_EXPIRES = 0xFFFFFFFF
SESSION_BYTES = 1500
"""What a session takes by itself, with a client id of 256 characters (CPython 3.11)."""


class TooManySessionsError(Exception):
    """MAX_SESSIONS sessions exist already, or as many as the memory allows."""


class Sessions:
    """Sessions by client id. `publish_will(client_id, will)` is called once for each will that is due.

    `backing` is what sessions that last need of the store; set it before the first is opened.
    """

    backing: Backing

    def __init__(
        self,
        node_id: str,
        tree: SubscriptionTree[Any],
        limits: SessionLimits,
        max_sessions: int,
        publish_will: Callable[[str, Will, Operation], None],
        wall_ms: Callable[[], int],
        counters: Counters,
        sharing: Sharing,
        plan: MemoryPlan,
    ) -> None:
        self._node_id = node_id
        self._by_client_id: dict[str, Session] = {}
        self._tree = tree
        self._plan = plan
        self.memory = DeliveryMemory(plan.deliveries, self._by_client_id.values, self._disconnect)
        self.routes = Routes(node_id, tree, self._is_served, self.lose, plan.subscriptions)
        self.limits = limits
        self._max_sessions = max_sessions
        self._publish_will = publish_will
        self._wall_ms = wall_ms
        self._counters = counters
        self._sharing = sharing
        self.lasting = 0

    def __len__(self) -> int:
        return len(self._by_client_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_client_id.values())

    def get(self, client_id: str) -> Session | None:
        """Return a client's session, None where there is none."""
        return self._by_client_id.get(client_id)

    def _is_served(self, client_id: str) -> bool:
        session = self._by_client_id.get(client_id)
        return session is not None and session.is_served

    def _disconnect(self, session: Session, reason_code: ReasonCode) -> None:
        """End a connection from the server's side and take it off its session at once: its will becomes due."""
        attachment = session.attachment
        if attachment is not None:
            attachment.close(reason_code)
            self.detach(session, attachment, self.backing.monotonic())

    def open(
        self,
        client_id: str,
        attachment: Attachment,
        now: float,
        will: Will | None = None,
        *,
        is_clean: bool,
        is_lasting: bool,
    ) -> Session:
        """Attach a client to its session, the one it has here or a new one. Charges `will`; `set_will` follows.

        A connection that holds the session is told Session taken over and closed [v5 MQTT-3.1.4-3].
        Raises TooManySessionsError.
        """
        if will is not None and not self._plan.wills.charge(wills.will_bytes(will)):
            raise TooManySessionsError(client_id)
        session = self._by_client_id.get(client_id)
        if session is not None and _is_due(session, now):  # and the next sweep has not come yet
            self._settle(session, now)
            session = self._by_client_id.get(client_id)
        is_full = len(self._by_client_id) >= self._max_sessions or self._plan.clients.is_full
        if session is None and is_full:
            self._plan.clients.refused += 1
            self._plan.wills.refund(0 if will is None else wills.will_bytes(will))
            raise TooManySessionsError(client_id)
        if session is not None and session.attachment is not None:
            self._disconnect(session, ReasonCode.SESSION_TAKEN_OVER)
            session = self._by_client_id.get(client_id)
        if session is not None and is_clean:
            self._end(session)
            session = None
        if session is None:
            session = self._begin(client_id, is_lasting=is_lasting)
        session.attachment = attachment
        session.expires_at = session.will_due_at = float("inf")
        self.set_will(session, None)  # [v5 MQTT-3.1.3-9] a new connection cancels a will that waits
        self._count_shared(session, self.routes.want)
        return session

    def set_will(self, session: Session, will: Will | None, *, is_charged: bool = False) -> None:
        """Replace a connected client's will, here and in the store: a node that dies cannot publish it itself."""
        had = self._take_will(session)
        if will is not None:
            session.will, session.will_bytes = will, wills.will_bytes(will)
            self._plan.wills.adopt(0 if is_charged else session.will_bytes)
            stored = wills.to_store(session.client_id, will, session.expiry_interval_s)
            self._operate(cluster.set_will(self._node_id, session.client_id, stored))
        elif had is not None:
            self._operate(cluster.clear_will(self._node_id, session.client_id))

    def clear_will(self, session: Session, on_stored: Callable[[], None]) -> None:
        """Forget a will; `on_stored` is called once no other node can publish it either."""
        self._take_will(session)
        self.backing.committer.operate([cluster.clear_will(self._node_id, session.client_id)], on_stored)

    def _take_will(self, session: Session) -> Will | None:
        will, session.will, session.will_due_at = session.will, None, float("inf")
        self._plan.wills.refund(session.will_bytes)
        session.will_bytes = 0
        return will

    def subscribe(self, session: Session, topic_filter: str, options: SubscriptionOptions) -> bool | None:
        """Add a subscription or replace its options, here, in the store and at the other nodes.

        Returns whether it is new; None where there is no memory for it.
        """
        known = session.subscriptions.get(topic_filter)
        if known is None:
            size_bytes = subscription_bytes(topic_filter)
            if not self._plan.subscriptions.charge(size_bytes, session.subscription_bytes):
                return None
            session.subscription_bytes += size_bytes
        self._add_subscription(session, topic_filter, options)
        if isinstance(session, LastingSession) and known != options:
            stored = stored_options(options)
            self._operate(
                session_store.subscribe(session.client_id, topic_filter, stored),
                cluster.session_filter(self._node_id, session.client_id, topic_filter, stored),
            )
        return known is None

    def _add_subscription(self, session: Session, topic_filter: str, options: SubscriptionOptions) -> None:
        is_new = self._tree.subscribe(topic_filter, session, options)
        session.subscriptions[topic_filter] = options
        if is_new and (session.attachment is not None or not parse_shared(topic_filter)):
            self._operate(*self.routes.want(topic_filter))

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Take a subscription away, here, in the store and at the other nodes; return whether there was one."""
        if topic_filter not in session.subscriptions:
            return False
        self._drop_subscription(session, topic_filter)
        if isinstance(session, LastingSession):
            self._operate(
                session_store.unsubscribe(session.client_id, topic_filter),
                cluster.session_filter(self._node_id, session.client_id, topic_filter, None),
            )
        return True

    def _drop_subscription(self, session: Session, topic_filter: str) -> None:
        del session.subscriptions[topic_filter]
        self._tree.unsubscribe(topic_filter, session)
        size_bytes = subscription_bytes(topic_filter)
        self._plan.subscriptions.refund(size_bytes)
        session.subscription_bytes -= size_bytes
        if session.attachment is not None or not parse_shared(topic_filter):
            self._operate(*self.routes.release(topic_filter))

    def _drop_subscriptions(self, session: Session) -> None:
        for topic_filter in list(session.subscriptions):
            self._drop_subscription(session, topic_filter)

    def _count_shared(self, session: Session, count: Callable[[str], list[Change]]) -> None:
        for topic_filter in session.subscriptions:
            if parse_shared(topic_filter):
                self._operate(*count(topic_filter))

    def _operate(self, *changes: Change) -> None:
        if changes:
            self.backing.committer.operate(changes)

    def detach(self, session: Session, attachment: Attachment, now: float) -> None:
        """Take a connection that has ended off its session; its will, where still set, becomes due."""
        if session.attachment is not attachment:
            return
        if self.backing.committer.is_holding:  # what waits is not acknowledged, and its sender is gone
            self.backing.committer.discard(session.client_id)
            session.forget_unstored()
        self._count_shared(session, self.routes.release)
        session.attachment = None
        delay_s = wills.will_delay_s(session.will, session.expiry_interval_s)
        if session.will is not None and delay_s:
            session.will_due_at = now + delay_s  # [v5 MQTT-3.1.3-9]
            due_ms = self._wall_ms() + delay_s * 1000
            stored = wills.to_store(session.client_id, session.will, session.expiry_interval_s, due_ms)
            self._operate(cluster.set_will(self._node_id, session.client_id, stored))
        elif session.will is not None:
            self._publish(session)
        if session.expiry_interval_s == 0:
            self._end(session)
        else:
            self._wait(session, now)

    def send_queued(self, now: float) -> None:
        """Go on where the store is needed for it: call when it can be reached again, since what was asked before is lost."""
        for session in self._by_client_id.values():
            if session.is_lasting:
                session.send_queued(now)

    def sweep(self, now: float) -> None:
        """End the sessions that have expired, publish the wills that have become due. Call about every second."""
        for session in [each for each in self._by_client_id.values() if _is_due(each, now)]:
            self._settle(session, now)
        waiting, self.memory.waiting = self.memory.waiting, set()
        for session in waiting:
            session.send_queued(now)

    def _settle(self, session: Session, now: float) -> None:
        if session.will is not None:
            self._publish(session)
        if session.expires_at <= now:
            self._end(session)

    # --- other nodes

    def adopt(self, stored: StoredSession, will: StoredWill | None, now: float) -> None:
        """Serve a session whose node is gone; a client that was connected there waits from now on."""
        session = self._begin(stored.client_id, is_lasting=True)
        session.expiry_interval_s = stored.expiry_interval_s
        self.serve(session, stored.subscriptions)
        if will is not None:
            session.will = wills.from_store(will)
            session.will_bytes = wills.will_bytes(session.will)
            self._plan.wills.adopt(session.will_bytes)
            left_s = (will.due_ms - self._wall_ms()) / 1000 if will.due_ms else will.delay_s
            session.will_due_at = now + left_s
        if stored.expires_ms == float("inf"):
            self._wait(session, now)
        else:
            session.expires_at = now + (stored.expires_ms - self._wall_ms()) / 1000

    def serve(self, session: Session, stored: Subscriptions) -> None:
        """Take the subscriptions that the store has of a session; until now they stood in the tree as another node's."""
        self.routes.set_session(session.client_id, None)
        for topic_filter in session.subscriptions.keys() - stored.keys():
            self._drop_subscription(session, topic_filter)
        for topic_filter, options in stored.items():
            if topic_filter not in session.subscriptions:
                size_bytes = subscription_bytes(topic_filter)
                self._plan.subscriptions.adopt(size_bytes)
                session.subscription_bytes += size_bytes
            self._add_subscription(session, topic_filter, SubscriptionOptions(*options))
        if isinstance(session, LastingSession):
            session.is_served = True

    def lose(self, client_id: str) -> None:
        """Forget a session that another node serves now: its connection here is told Session taken over [v5 MQTT-3.1.4-3].

        Its will is the other node's to publish. One whose client has come back to this node since stays, but the other node
        may have changed its subscriptions: until the store's are read they stand in the tree as the other node's.
        """
        session = self._by_client_id.get(client_id)
        if session is None:
            return
        if session.pending_owns:
            if isinstance(session, LastingSession) and session.is_served:
                self._mirror(session)
            return
        del self._by_client_id[client_id]
        self._plan.clients.refund(SESSION_BYTES)
        if session.attachment is not None:
            session.attachment.close(ReasonCode.SESSION_TAKEN_OVER)
        self._take_will(session)
        if isinstance(session, LastingSession):
            self.lasting -= 1
            session.forget_loaded()
            self._mirror(session)
            session.attachment = None
        else:
            self._drop_subscriptions(session)
            session.attachment = None
            self._sharing.session_ended(session)
            session.forget_deliveries()

    def _mirror(self, session: LastingSession) -> None:
        """Have a session stand in the tree as one that this node does not serve."""
        subscriptions = session.stored_subscriptions()
        self._drop_subscriptions(session)
        session.is_served = False
        self.routes.set_session(session.client_id, subscriptions)

    # --- beginning and end

    def _begin(self, client_id: str, *, is_lasting: bool) -> Session:
        session = (
            LastingSession(client_id, self.limits, self._counters, self.memory, self.backing)
            if is_lasting
            else Session(client_id, self.limits, self._counters, self.memory)
        )
        self._by_client_id[client_id] = session
        self._plan.clients.adopt(SESSION_BYTES)
        self.lasting += is_lasting
        return session

    def _wait(self, session: Session, now: float) -> None:
        if session.expiry_interval_s != NEVER_EXPIRES:
            session.expires_at = now + session.expiry_interval_s
        if isinstance(session, LastingSession):
            session.forget_loaded()
            expires_ms = self._wall_ms() + (session.expires_at - now) * 1000
            self.backing.committer.operate(
                session_store.disconnected(session.client_id, session.expiry_interval_s, expires_ms)
            )

    def _end(self, session: Session) -> None:
        if session.will is not None:
            self._publish(session)  # [v5 MQTT-3.1.2-10] when the session ends, whatever delay is left
        is_sharing = any(parse_shared(topic_filter) for topic_filter in session.subscriptions)
        self._drop_subscriptions(session)
        del self._by_client_id[session.client_id]
        self._plan.clients.refund(SESSION_BYTES)
        if not isinstance(session, LastingSession):
            self._sharing.session_ended(session)
            session.forget_deliveries()
        else:
            self.lasting -= 1
            session.forget_loaded()
            self.routes.set_session(session.client_id, None)  # it was not read from the store yet
            if is_sharing or not session.is_served:
                self._operate(cluster.pass_on(session.client_id))
            self._operate(*cluster.end_session(self._node_id, session.client_id))
        self._operate(cluster.disown(session.client_id))

    def _publish(self, session: Session) -> None:
        will = self._take_will(session)
        if will is not None:
            self._publish_will(session.client_id, will, cluster.clear_will(self._node_id, session.client_id))


def _is_due(session: Session, now: float) -> bool:
    return session.will_due_at <= now or session.expires_at <= now
