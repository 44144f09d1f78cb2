"""When sessions end and wills are due, to the second: not when somebody looks (MQTT 5.0 §3.1.2.11.2, §3.1.3.2.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from broker.routing.subscription_tree import SubscriptionTree
from broker.session.lasting_session import Backing
from broker.session.message_broker import Counters
from broker.session.outgoing import OutgoingPublish
from broker.session.session import SessionLimits
from broker.session.sessions import Sessions
from broker.session.sharing import Sharing
from broker.wire.connect import Will
from store.link import StoreLink
from tests.commit.lone import UNREACHABLE, lone_committer, lone_peers, lone_plan

if TYPE_CHECKING:
    from broker.session.message_broker import MessageBroker
    from broker.session.session import Attachment
    from store.commit_log import Operation

EXPIRY_S, DELAY_S = 10, 5


class Kept:
    """Sessions of one client that comes and goes; what is published as its will."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        sharing = Sharing(cast("MessageBroker", None))  # asks it for groups, and there are none
        self.sessions = Sessions(
            "node", SubscriptionTree(), SessionLimits(), 1, self._publish, lambda: 0, Counters(), sharing, lone_plan()
        )
        unreachable = StoreLink(UNREACHABLE)  # what sessions note waits
        committer = lone_committer(unreachable, lone_peers(unreachable))
        self.sessions.backing = Backing(committer, unreachable, lambda: 0, lambda: 0, OutgoingPublish)

    def _publish(self, _: str, will: Will, clear: Operation) -> None:
        assert clear.command == "HDEL"
        self.published.append(will.payload)

    def connect(self, now: float) -> bool:
        """Connect, with a will that is delayed; return whether the session was present."""
        self.attachment = cast("Attachment", object())
        before = getattr(self, "session", None)
        self.session = self.sessions.open("c", self.attachment, now, is_clean=False, is_lasting=False)
        self.session.expiry_interval_s = EXPIRY_S
        will = Will("w", b"at %d" % now, properties={"will_delay_interval": DELAY_S})
        self.sessions.set_will(self.session, will)
        return self.session is before

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

    async def come_and_go(*, is_swept: bool) -> None:
        kept = Kept()
        assert not kept.connect(0)
        kept.lose(100)
        if is_swept:
            kept.sessions.sweep(100 + away_s)
        assert kept.connect(100 + away_s) is is_present
        assert kept.published == published

    for is_swept in (False, True):
        asyncio.run(come_and_go(is_swept=is_swept))
