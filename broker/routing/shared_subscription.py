"""Shared subscriptions: `$share/GROUP/FILTER`, of whose members one gets each message (MQTT 5.0 §4.8.2).

Here it is decided whose turn it is. Sending, and a message whose member leaves before it has acknowledged, are the
caller's; this is what the specification allows then:

    it refused the message (PUBACK or PUBREC of 0x80 or more)   nobody else may get it [v5 MQTT-4.8.2-6]
    it lost its connection, QoS 2, sent                         completed to itself when it is back [v5 MQTT-4.8.2-4]
    its session ended, QoS 2, sent                              nobody else may get it [v5 MQTT-4.8.2-5]
    its session ended, QoS 1, sent                              another member should get it (§4.8.2)
    its session ended, not sent yet                             another member may get it
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.routing.subscription_tree import Match

S = TypeVar("S", bound=Hashable)

SHARE_PREFIX = "$share/"


class SharedFilter(NamedTuple):
    """The two parts of `$share/GROUP/FILTER`."""

    group: str
    topic_filter: str


def parse_shared(topic_filter: str) -> SharedFilter | None:
    """Return group and filter; None for an ordinary filter and for one that only begins like a shared one.

    Whether the wildcards of the inner filter stand right is `is_valid_topic_filter`'s to say.
    """
    if not topic_filter.startswith(SHARE_PREFIX):
        return None  # [v5 MQTT-4.8.2-1]
    group, _, inner = topic_filter[len(SHARE_PREFIX) :].partition("/")
    if not group or not inner or "+" in group or "#" in group:
        return None  # [v5 MQTT-4.8.2-1] and [v5 MQTT-4.8.2-2]
    return SharedFilter(group, inner)


def may_go_to_another(qos: int, *, is_sent: bool) -> bool:
    """Tell whether a message may go to another member when the session it was chosen for ends.

    One of QoS 2 that was sent may not: its receiver may have acted on it already [v5 MQTT-4.8.2-5].
    """
    return not (qos == 2 and is_sent)


class SharedGroup(Generic[S]):
    """Those who share one filter under one name, in the order in which they take turns."""

    __slots__ = ("_by_subscriber", "_turn", "members", "shared_filter")

    def __init__(self, group: str, topic_filter: str) -> None:
        self.shared_filter = f"{SHARE_PREFIX}{group}/{topic_filter}"
        self.members: tuple[Match[S], ...] = ()
        self._by_subscriber: dict[S, tuple[Match[S], int]] = {}
        self._turn = 0

    def choose(self, is_ready: Callable[[S], bool]) -> Match[S] | None:
        """Return the member whose turn it is: the next that is ready, else simply the next; None where nobody is left.

        Its `qos` bounds the delivery, as it does for an ordinary subscription [v5 MQTT-4.8.2-3].
        """
        members = self.members
        if not members:
            return None
        places = chain(range(self._turn, len(members)), range(self._turn))
        place = next((place for place in places if is_ready(members[place].subscriber)), self._turn)
        self._turn = (place + 1) % len(members)
        return members[place]

    def join(self, member: Match[S], places: int = 1) -> bool:
        """Add a member that takes so many turns, or replace its options and turns; return whether it is new."""
        is_new = member.subscriber not in self._by_subscriber
        self._by_subscriber[member.subscriber] = (member, places)
        self._seat()
        self._turn %= len(self.members)
        return is_new

    def leave(self, subscriber: S) -> bool:
        """Take a member out; return whether it was one. Whose turn it is does not change for the others."""
        member, places = self._by_subscriber.pop(subscriber, (None, 0))
        if member is None:
            return False
        first = self.members.index(member)
        self._seat()
        self._turn = (self._turn - max(0, min(places, self._turn - first))) % max(1, len(self.members))
        return True

    def _seat(self) -> None:
        self.members = tuple(member for member, places in self._by_subscriber.values() for _ in range(places))
