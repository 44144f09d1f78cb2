"""When sessions end and wills are due, to the second: not when somebody looks (MQTT 5.0 §3.1.2.11.2, §3.1.3.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broker.routing.subscription_tree import SubscriptionTree
from broker.session.message_broker import Counters
from broker.session.session import Session, SessionLimits
from broker.session.sessions import Sessions
from broker.session.sharing import Sharing
from broker.wire.connect import Will

if TYPE_CHECKING:
    from broker.session.message_broker import MessageBroker
    from broker.session.session import Attachment

EXPIRY_S, DELAY_S = 10, 5


class Kept:
    """Sessions of one client that comes and goes; what is published as its will."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        tree: SubscriptionTree[Session] = SubscriptionTree()
        sharing = Sharing(cast("MessageBroker", None))  # asks it for groups, and there are none
        self.sessions = Sessions(tree, SessionLimits(), 1, self._publish, lambda: 0, Counters(), sharing)

    def _publish(self, _: str, will: Will) -> None:
        self.published.append(will.payload)

    def connect(self, now: float) -> bool:
        """Connect, with a will that is delayed; return whether the session was present."""
        self.attachment = cast("Attachment", object())
        self.session, is_present = self.sessions.open("c", self.attachment, now, is_clean=False, is_lasting=False)
        self.session.expiry_interval_s = EXPIRY_S
        self.session.will = Will("w", b"at %d" % now, properties={"will_delay_interval": DELAY_S})
        return is_present

    def lose(self, now: float) -> None:
        """Lose the connection."""
        self.sessions.detach(self.session, self.attachment, now)


@pytest.mark.parametrize(
    ("away_s", "is_present", "published"),
    [(4, True, []), (6, True, [b"at 0"]), (9, True, [b"at 0"]), (10, False, [b"at 0"]), (11, False, [b"at 0"])],
)
def test_v5_mqtt_4_1_0_2_a_session_is_gone_once_its_interval_has_passed(
    away_s: int, is_present: bool, published: list[bytes]
) -> None:
    """[v5 MQTT-4.1.0-2], [v5 MQTT-3.1.2-8], [v5 MQTT-3.1.3-9]: whether or not a sweep has come."""
    for is_swept in (False, True):
        kept = Kept()
        assert not kept.connect(0)
        kept.lose(100)
        if is_swept:
            kept.sessions.sweep(100 + away_s)
        assert kept.connect(100 + away_s) is is_present
        assert kept.published == published
