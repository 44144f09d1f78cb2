"""All sessions of this process: opening with takeover, detaching with wills, expiry (MQTT 5.0 §3.1.2.11.2, §3.1.4, §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.session.session import Attachment, Session, SessionLimits
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.routing.subscription_tree import SubscriptionTree
    from broker.wire.connect import Will

NEVER_EXPIRES = 0xFFFFFFFF


class TooManySessionsError(Exception):
    """MAX_SESSIONS sessions exist already."""


class Sessions:
    """Sessions by client id. `publish_will(client_id, will)` is called once for each will that is due."""

    def __init__(
        self,
        tree: SubscriptionTree[Session],
        limits: SessionLimits,
        max_sessions: int,
        publish_will: Callable[[str, Will], None],
    ) -> None:
        self._tree = tree
        self._limits = limits
        self._max_sessions = max_sessions
        self._publish_will = publish_will
        self._by_client_id: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_client_id)

    def open(self, client_id: str, attachment: Attachment, now: float, *, is_clean: bool) -> tuple[Session, bool]:
        """Attach a client to its session, kept or new; return it and whether it was present [v5 MQTT-3.2.2-2].

        A connection that holds the session is told Session taken over and closed [v5 MQTT-3.1.4-3].
        Raises TooManySessionsError.
        """
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
            session = self._by_client_id[client_id] = Session(client_id, self._limits)
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
        elif session.expiry_interval_s != NEVER_EXPIRES:
            session.expires_at = now + session.expiry_interval_s

    def sweep(self, now: float) -> None:
        """End the sessions that have expired, publish the wills that have become due. Call about every second."""
        for session in [
            each for each in self._by_client_id.values() if each.will_due_at <= now or each.expires_at <= now
        ]:
            if session.will is not None:
                self._publish(session)
            if session.expires_at <= now:
                self._end(session)

    def _end(self, session: Session) -> None:
        if session.will is not None:
            self._publish(session)  # [v5 MQTT-3.1.2-10] when the session ends, whatever delay is left
        for topic_filter in session.subscriptions:
            self._tree.unsubscribe(topic_filter, session)
        session.subscriptions.clear()
        del self._by_client_id[session.client_id]

    def _publish(self, session: Session) -> None:
        will, session.will, session.will_due_at = session.will, None, float("inf")
        if will is not None:
            self._publish_will(session.client_id, will)


def _will_delay_s(session: Session) -> int:
    return session.will.properties.get("will_delay_interval", 0) if session.will is not None else 0
