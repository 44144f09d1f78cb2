"""The broker is killed and comes back while every client has messages in flight; the client does the rest by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from foreign_clients import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foreign_client import ForeignClient

    from tests.broker.broker_process import BrokerProcess

MESSAGES = 200
LAST = b"last"
PAHO = Kind("paho", 4)
# Publishers and their subscribers. amqtt's publish() fails when its connection does: what then is the caller's business.
PAIRS = [(kind, PAHO) for kind in KINDS if kind.library != "amqtt"] + [(PAHO, kind) for kind in KINDS if kind != PAHO]


@dataclass
class Stream:
    """Messages from one client to another."""

    publisher: ForeignClient
    subscriber: ForeignClient
    topic_name: str
    qos: int

    def publish(self, numbers: Iterable[int]) -> None:
        """Publish numbers without waiting for an answer."""
        for number in numbers:
            self.publisher.start_publish(self.topic_name, b"%d" % number, self.qos)

    def judge(self, first: list[bytes]) -> None:
        """After `first`, each message arrives at least once and first in order; with QoS 2 exactly once."""
        self.publisher.await_published()
        self.publisher.publish(self.topic_name, LAST, self.qos)
        numbers = [int(payload) for payload in first + self.subscriber.payloads_until(LAST)]
        assert list(dict.fromkeys(numbers)) == list(range(MESSAGES))
        if self.qos == 2:
            assert [number for number, times in Counter(numbers).items() if times > 1] == []


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("shift", range(3))
def test_what_was_in_flight_gets_through(
    mortal_broker: BrokerProcess, connected: Callable[..., ForeignClient], name: Callable[[], str], qos: int, shift: int
) -> None:
    """A third of the pairs at a time: one crash for many clients."""
    lives_on = {"at": mortal_broker, "is_lasting": True, "reconnects": True}
    streams = [
        Stream(connected(publishing, **lives_on), connected(subscribing, **lives_on), name(), qos)
        for publishing, subscribing in PAIRS[shift::3]
    ]
    for stream in streams:
        stream.subscriber.subscribe(stream.topic_name, 2)
        stream.publish(range(MESSAGES // 2))
    first = [[each.payload for each in stream.subscriber.take(10)] for stream in streams]
    mortal_broker.kill()
    for stream in streams:
        stream.publish(range(MESSAGES // 2, MESSAGES))
    mortal_broker.start()
    for stream, payloads in zip(streams, first, strict=True):
        stream.judge(payloads)
