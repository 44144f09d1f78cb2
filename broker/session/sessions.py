"""All sessions of this process: opening with takeover, detaching with wills, expiry (MQTT 5.0 §3.1.2.11.2, §3.1.4, §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions
from broker.session.lasting_session import Backing, LastingSession
from broker.session.session import Attachment, Session, SessionLimits
from broker.wire.reason_codes import ReasonCode
from store import session_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from broker.routing.subscription_tree import SubscriptionTree
    from broker.session.message_broker import Counters
    from broker.session.sharing import Sharing
    from broker.wire.connect import Will
    from store.session_store import StoredSession

NEVER_EXPIRES = 0xFFFFFFFF


class TooManySessionsError(Exception):
    """MAX_SESSIONS sessions exist already."""


class Sessions:
    """Sessions by client id. `publish_will(client_id, will)` is called once for each will that is due.

    `backing` is what sessions that last need of the store; set it before the first is opened.
    """

    backing: Backing

    def __init__(
        self,
        tree: SubscriptionTree[Session],
        limits: SessionLimits,
        max_sessions: int,
        publish_will: Callable[[str, Will], None],
        wall_ms: Callable[[], int],
        counters: Counters,
        sharing: Sharing,
    ) -> None:
        self._tree = tree
        self.limits = limits
        self._max_sessions = max_sessions
        self._publish_will = publish_will
        self._wall_ms = wall_ms
        self._counters = counters
        self._sharing = sharing
        self._by_client_id: dict[str, Session] = {}
        self.lasting = 0

    def __len__(self) -> int:
        return len(self._by_client_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_client_id.values())

    def get(self, client_id: str) -> Session | None:
        """Return a client's session, None where there is none."""
        return self._by_client_id.get(client_id)

    def open(
        self, client_id: str, attachment: Attachment, now: float, *, is_clean: bool, is_lasting: bool
    ) -> tuple[Session, bool]:
        """Attach a client to its session, kept or new; return it and whether it was present [v5 MQTT-3.2.2-2].

        A connection that holds the session is told Session taken over and closed [v5 MQTT-3.1.4-3].
        Raises TooManySessionsError.
        """
        session = self._by_client_id.get(client_id)
        if session is not None and _is_due(session, now):  # and the next sweep has not come yet
            self._settle(session, now)
            session = self._by_client_id.get(client_id)
        if session is None and len(self._by_client_id) >= self._max_sessions:
            raise TooManySessionsError(client_id)
        if session is not None and session.attachment is not None:
            session.attachment.close(ReasonCode.SESSION_TAKEN_OVER)
            self.detach(session, session.attachment, now)
            session = self._by_client_id.get(client_id)
        if session is not None and is_clean:
            self._end(session)
            session = None
        is_present = session is not None
        if session is None:
            session = self._begin(client_id, is_lasting=is_lasting)
        session.attachment = attachment
        session.expires_at = session.will_due_at = float("inf")
        session.will = None  # [v5 MQTT-3.1.3-9] a new connection cancels a will that waits
        return session, is_present

    def detach(self, session: Session, attachment: Attachment, now: float) -> None:
        """Take a connection that has ended off its session; its will, where still set, becomes due."""
        if session.attachment is not attachment:
            return
        session.attachment = None
        delay_s = min(_will_delay_s(session), session.expiry_interval_s)
        if session.will is not None and delay_s:
            session.will_due_at = now + delay_s  # [v5 MQTT-3.1.3-9]
        elif session.will is not None:
            self._publish(session)
        if session.expiry_interval_s == 0:
            self._end(session)
        else:
            self._wait(session, now)

    def sweep(self, now: float) -> None:
        """End the sessions that have expired, publish the wills that have become due. Call about every second."""
        for session in [each for each in self._by_client_id.values() if _is_due(each, now)]:
            self._settle(session, now)

    def _settle(self, session: Session, now: float) -> None:
        if session.will is not None:
            self._publish(session)
        if session.expires_at <= now:
            self._end(session)

    def restore(self, stored: Iterable[StoredSession], now: float) -> None:
        """Take over the sessions that an earlier process left in the store; those connected then wait from now on."""
        for each in stored:
            if each.client_id in self._by_client_id:  # began anew, with a clean start, while these were read
                self.backing.committer.operate(session_store.delete(each.client_id))
                continue
            session = self._begin(each.client_id, is_lasting=True)
            session.expiry_interval_s = each.expiry_interval_s
            for stored_subscription in each.subscriptions:
                topic_filter, options = stored_subscription[0], SubscriptionOptions(*stored_subscription[1:])
                session.subscriptions[topic_filter] = options
                self._tree.subscribe(topic_filter, session, options)
            if each.expires_ms == float("inf"):
                self._wait(session, now)
            else:
                session.expires_at = now + (each.expires_ms - self._wall_ms()) / 1000

    def _begin(self, client_id: str, *, is_lasting: bool) -> Session:
        session = (
            LastingSession(client_id, self.limits, self._counters, self.backing)
            if is_lasting
            else Session(client_id, self.limits, self._counters)
        )
        self._by_client_id[client_id] = session
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
        for topic_filter in session.subscriptions:
            self._tree.unsubscribe(topic_filter, session)
        is_sharing = any(parse_shared(topic_filter) for topic_filter in session.subscriptions)
        session.subscriptions.clear()
        del self._by_client_id[session.client_id]
        if not isinstance(session, LastingSession):
            self._sharing.session_ended(session)
        else:
            self.lasting -= 1
            session.forget_loaded()
            if is_sharing:
                self._sharing.lasting_session_ended(session, self.backing)
            self.backing.committer.operate(session_store.delete(session.client_id))

    def _publish(self, session: Session) -> None:
        will, session.will, session.will_due_at = session.will, None, float("inf")
        if will is not None:
            self._publish_will(session.client_id, will)


def _is_due(session: Session, now: float) -> bool:
    return session.will_due_at <= now or session.expires_at <= now


def _will_delay_s(session: Session) -> int:
    return session.will.properties.get("will_delay_interval", 0) if session.will is not None else 0
