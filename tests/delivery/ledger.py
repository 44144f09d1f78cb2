"""What devices were promised, and what they got: the model's judge. Pure; `judge` compares it with the store's log at the end.

Acknowledged at QoS 1 or 2   is in the log; a QoS 2 message once, however often it was sent
Subscribed, acknowledged     every message of QoS 1 or 2 that is sent and acknowledged behind that comes, at QoS 2 once
Order                        of one publisher on one topic: as published
Retained                     none older behind a newer one, none both as retained and as live, and the last one comes
Session                      is there for as long as it was said to be
Will                         once when it is due, never after DISCONNECT

Where a device cannot know what the broker has done (no answer came), both are right.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

EXPIRY_S = 10
SHARED = "$share/g/"


@dataclass
class Sent:
    """A message as its publisher knows it. `sent_at`, and every `…_at` but `left_s`: a number that grows with each event."""

    payload: int
    publisher: str
    topic: str
    qos: int
    is_retain: bool
    sent_at: int
    acked_at: int | None = None
    resent: int = 0


@dataclass
class Received:
    """One copy of a message. `connection`: the number of the device's connection it came on."""

    payload: int
    topic: str
    qos: int
    is_retain: bool
    connection: int


@dataclass
class Subscription:
    """One SUBSCRIBE to one filter. `promised_at`: since when every message has to come."""

    topic_filter: str
    qos: int
    sent_at: int
    connection: int
    promised_at: int | None = None
    unsubscribed_at: int | None = None
    gone_at: int | None = None

    @property
    def is_shared(self) -> bool:
        return self.topic_filter.startswith(SHARED)

    def matches(self, topic: str) -> bool:
        pattern = re.escape(self.topic_filter.removeprefix(SHARED)).replace(r"\#", ".*").replace(r"\+", "[^/]*")
        return re.fullmatch(pattern, topic) is not None


@dataclass
class Session:
    """A session as its client knows it. `is_unknown`: it may have had subscriptions before that the client never saw."""

    client_id: str
    is_persistent: bool
    is_unknown: bool = False
    is_accepted: bool = False
    left_s: float | None = None
    subscriptions: list[Subscription] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def active(self, topic_filter: str) -> Subscription | None:
        found = [each for each in self.subscriptions if each.topic_filter == topic_filter]
        return found[-1] if found and found[-1].unsubscribed_at is None else None


@dataclass
class Will:
    """`least` and `most`: how often it is to be published."""

    payload: int
    delay_s: int
    least: int = 0
    most: int = 1
    left_s: float | None = None


class Ledger:
    """Told of everything that devices do and see, in order."""

    def __init__(self) -> None:
        self._events = 0
        self.sent: dict[int, Sent] = {}
        self.sessions: dict[str, Session] = {}
        self.ended: list[Session] = []
        self.wills: list[Will] = []

    def now(self) -> int:
        """Return the number of this event."""
        self._events += 1
        return self._events

    # --- sessions

    def connects(self, client_id: str, *, is_clean: bool, is_persistent: bool) -> None:
        """CONNECT is sent. A clean start may end the session there was at any time from now on."""
        session = self.sessions.get(client_id)
        if is_clean or session is None or not session.is_persistent:
            if session is not None:
                self.ended.append(session)
            session = self.sessions[client_id] = Session(client_id, is_persistent)
        session.is_persistent = is_persistent

    def accepted(self, client_id: str, now_s: float, *, is_clean: bool, is_present: bool) -> None:
        """CONNACK has come."""
        session = self.sessions[client_id]
        if is_clean:
            assert not is_present, f"{client_id}: a session is present though it was to start anew"
            session.is_unknown = False
        elif session.is_accepted and not is_present:
            left_s = session.left_s
            assert left_s is not None
            assert now_s >= left_s + EXPIRY_S, f"{client_id}: its session is gone after {now_s - left_s} s"
            self.ended.append(session)
            session = self.sessions[client_id] = Session(client_id, is_persistent=True)
        elif not session.is_accepted and is_present:
            session.is_unknown = True
        session.is_accepted, session.left_s = True, None

    def left(self, client_id: str, now_s: float) -> None:
        """The connection has ended, or may have."""
        session = self.sessions[client_id]
        if session.left_s is None:
            session.left_s = now_s
        if not session.is_persistent:
            session.is_accepted = False
            for each in session.subscriptions:
                each.unsubscribed_at = each.unsubscribed_at or self.now()

    def subscribes(self, client_id: str, topic_filter: str, qos: int, connection: int) -> Subscription:
        """SUBSCRIBE is sent; what was promised before stays so where the new QoS allows it."""
        session = self.sessions[client_id]
        before = session.active(topic_filter)
        made = Subscription(topic_filter, qos, self.now(), connection)
        if before is not None:
            before.unsubscribed_at = made.sent_at
            if before.qos and qos:
                made.promised_at = before.promised_at
        session.subscriptions.append(made)
        return made

    def suback(self, subscription: Subscription) -> None:
        """SUBACK has come."""
        if subscription.promised_at is None:
            subscription.promised_at = self.now()

    def unsubscribes(self, client_id: str, topic_filter: str) -> list[Subscription]:
        """UNSUBSCRIBE is sent."""
        now = self.now()
        session = self.sessions[client_id]
        found = [each for each in session.subscriptions if each.topic_filter == topic_filter and each.gone_at is None]
        for each in found:
            each.unsubscribed_at = each.unsubscribed_at or now
        return found

    def unsuback(self, subscriptions: list[Subscription]) -> None:
        """UNSUBACK has come."""
        for each in subscriptions:
            each.gone_at = self.now()

    # --- messages

    def sends(self, publisher: str, topic: str, qos: int, *, is_retain: bool) -> Sent:
        """PUBLISH is sent for the first time."""
        number = self.now()
        sent = self.sent[number] = Sent(number, publisher, topic, qos, is_retain, number)
        return sent

    def acked(self, payload: int) -> None:
        """PUBACK or PUBREC has come."""
        self.sent[payload].acked_at = self.now()

    def receives(self, client_id: str, received: Received) -> None:
        """A message has come that the device has not been sent before, as far as its QoS lets it know."""
        self.sessions[client_id].received.append(received)

    # --- the end

    def judge(self, log: list[tuple[str, int, bool]], present: set[str], connections: dict[str, int]) -> None:
        """Compare with the log: topic, payload and whether it is retained, in order.

        `present`: who is connected now, with all that was promised received; `connections`: on which of its connections.
        """
        position = {payload: place for place, (_, payload, _) in enumerate(log)}
        counts = Counter(payload for _, payload, _ in log)
        self._judge_stored(counts)
        self._judge_wills(counts)
        retained = {topic: payload for topic, payload, is_retain in log if is_retain}
        for session in (*self.ended, *self.sessions.values()):
            self._judge_copies(session)
            self._judge_order(session)
            _judge_retained_order(session, self.sent, position)
        for client_id in present:
            self._judge_complete(self.sessions[client_id])
            self._judge_last_retained(self.sessions[client_id], retained, connections[client_id])
        self._judge_shared(present)

    def _judge_stored(self, counts: Counter[int]) -> None:
        for sent in self.sent.values():
            least = 1 if sent.acked_at is not None else 0
            most = 1 if sent.qos == 2 else 1 + sent.resent
            assert least <= counts[sent.payload] <= most, f"stored {counts[sent.payload]} times: {sent}"

    def _judge_wills(self, counts: Counter[int]) -> None:
        for will in self.wills:
            assert will.least <= counts[will.payload] <= will.most, f"published {counts[will.payload]} times: {will}"

    def _judge_copies(self, session: Session) -> None:
        copies = Counter(
            (each.payload, each.connection if each.qos < 2 else 0, each.qos == 2) for each in session.received
        )
        for (payload, _, is_qos_2), count in copies.items():
            if payload not in self.sent or session.is_unknown:
                continue
            sent = self.sent[payload]
            most = self._most_copies(session, sent) * (1 if is_qos_2 else 1 + sent.resent)
            assert count <= most, f"{session.client_id} got it {count} times instead of {most}: {sent}\n{session}"

    def _most_copies(self, session: Session, sent: Sent) -> int:
        matching = [each for each in session.subscriptions if each.matches(sent.topic)]
        before = [each for each in matching if each.sent_at < sent.sent_at]
        later = [each for each in matching if each.sent_at > sent.sent_at and not each.is_shared]
        had = any(not each.is_shared and (each.gone_at or sent.sent_at) >= sent.sent_at for each in before)
        shared = len({each.topic_filter for each in matching if each.is_shared})
        return (int(had) + len(later) if sent.is_retain else int(had or bool(later))) + shared

    def _judge_order(self, session: Session) -> None:
        last: dict[tuple[str, str, bool], int] = defaultdict(int)
        seen: set[int] = set()
        shared = [each for each in session.subscriptions if each.is_shared]
        for each in session.received:
            if each.payload in seen or each.is_retain or each.payload not in self.sent:
                continue
            seen.add(each.payload)
            if any(one.matches(each.topic) for one in shared):
                continue  # what another member leaves comes late
            key = (self.sent[each.payload].publisher, each.topic, each.qos > 0)
            assert last[key] < each.payload, f"{session.client_id}: {each.payload} comes behind {last[key]}\n{session}"
            last[key] = each.payload

    def _judge_complete(self, session: Session) -> None:
        got = {each.payload for each in session.received}
        for subscription in session.subscriptions:
            if subscription.is_shared:
                continue
            missing = [each for each in self._promised(subscription) if each.payload not in got]
            assert not missing, f"{session.client_id} lacks {missing}, promised by {subscription}"

    def _promised(self, subscription: Subscription) -> list[Sent]:
        since = subscription.promised_at
        if since is None or not subscription.qos:
            return []
        until = subscription.unsubscribed_at or self._events + 1
        return [
            each
            for each in self.sent.values()
            if each.qos and each.acked_at and since < each.sent_at and each.acked_at < until
            if subscription.matches(each.topic)
        ]

    def _judge_last_retained(self, session: Session, retained: dict[str, int], connection: int) -> None:
        got = {each.payload for each in session.received}
        for each in session.subscriptions:
            is_over = each.unsubscribed_at is not None or each.promised_at is None or each.is_shared
            if is_over or each.connection != connection:
                continue
            for topic, payload in retained.items():
                if each.matches(topic):
                    assert payload in got, f"{session.client_id} lacks retained {self.sent[payload]}, see {each}"

    def _judge_shared(self, present: set[str]) -> None:
        got = {each.payload for one in (*self.ended, *self.sessions.values()) for each in one.received}
        for client_id in present:
            for subscription in self.sessions[client_id].subscriptions:
                if subscription.is_shared and subscription.unsubscribed_at is None:
                    missing = [each for each in self._promised(subscription) if each.payload not in got]
                    assert not missing, f"nobody of the group of {client_id} got {missing}"


def _judge_retained_order(session: Session, sent: dict[int, Sent], position: dict[int, int]) -> None:
    """Retained messages come in the order of the log, save what comes again on another connection or was stored twice."""
    if any(each.is_shared for each in session.subscriptions):
        return  # what another member leaves comes late
    newest: dict[str, int] = {}
    seen: set[tuple[int, int]] = set()
    for each in session.received:
        if each.payload not in sent or not sent[each.payload].is_retain or sent[each.payload].resent:
            continue
        is_again = any((each.payload, connection) in seen for connection in range(1, each.connection))
        seen.add((each.payload, each.connection))
        if is_again:
            continue
        place = position[each.payload]
        assert place >= newest.get(each.topic, 0), f"{session.client_id} got stale {each}\n{session}"
        newest[each.topic] = place
