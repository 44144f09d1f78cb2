"""Shared subscriptions ($share) as the clients that others wrote use them: each message goes to one member."""

from __future__ import annotations

import itertools
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

from foreign_clients import KINDS, Kind

from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from foreign_client import ForeignClient

    from tests.broker.broker_process import BrokerProcess

MESSAGES = 120
PAHO = Kind("paho", 5)


def test_each_message_goes_to_one_member(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    members = [connected(kind) for _ in range(3)]
    for member in members:
        member.subscribe(f"$share/group/{topic}", 1)
        member.subscribe(f"{topic}/end", 1)
    publisher = connected(PAHO)
    for number in range(MESSAGES):
        publisher.start_publish(topic, b"%d" % number, 1)
    publisher.publish(f"{topic}/end", b"end", 1)
    shares = [member.payloads_until(b"end") for member in members]
    assert sorted(map(int, itertools.chain(*shares))) == list(range(MESSAGES))
    assert all(shares)


def test_libraries_share_among_each_other(connected: Callable[..., ForeignClient], name: Callable[[], str]) -> None:
    topic, alone = name(), connected(PAHO)
    alone.subscribe(topic, 2)
    members = [connected(kind) for kind in KINDS]
    for member in members:
        member.subscribe(f"$share/group/{topic}", 2)
        member.subscribe(f"{topic}/end", 2)
    for number in range(MESSAGES):
        alone.start_publish(topic, b"%d" % number, 2)
    alone.publish(f"{topic}/end", b"end", 2)
    shares = [member.payloads_until(b"end") for member in members]
    assert sorted(map(int, itertools.chain(*shares))) == list(range(MESSAGES))
    assert [int(each.payload) for each in alone.take(MESSAGES)] == list(range(MESSAGES))


def test_a_member_that_leaves_is_not_counted_on(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, leaving, staying = name(), connected(kind), connected(kind)
    for member in (leaving, staying):
        member.subscribe(f"$share/group/{topic}", 1)
    leaving.unsubscribe(f"$share/group/{topic}")
    for number in range(10):
        staying.publish(topic, b"%d" % number, 1)
    assert [int(each.payload) for each in staying.take(10)] == list(range(10))


def test_no_retained_message_is_sent(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    """MQTT 5.0 §4.8.2: none when a Shared Subscription is made."""
    topic, client = name(), connected(kind)
    client.publish(topic, b"kept", 1, is_retain=True)
    client.subscribe(f"$share/group/{topic}", 1)
    client.publish(topic, b"live", 1)
    assert client.next().payload == b"live"


def test_mosquitto_sub_takes_its_share(
    broker: BrokerProcess, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, publisher = name(), connected(PAHO)
    command = ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-V", "mqttv5", "-q", "1"]
    command += ["-t", f"$share/group/{topic}", "-t", f"{topic}/ready", "-F", "%p", "-W", "15", "-C", "21"]
    publisher.publish(f"{topic}/ready", b"ready", 1, is_retain=True)
    members = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [member.stdout for member in members]
    for output in outputs:
        assert output is not None
        assert output.readline() == "ready\n"  # it is subscribed
    for number in range(40):
        publisher.publish(topic, b"%d" % number, 1)
    found: Counter[str] = Counter()
    for member, output in zip(members, outputs, strict=True):
        with member:
            assert output is not None
            found.update(output.read().split())
    assert found == Counter(str(number) for number in range(40))
    eventually(lambda: all(member.returncode == 0 for member in members), "both have had half of the messages")
