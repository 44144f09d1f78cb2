"""Shared subscriptions, `$share/GROUP/FILTER`: each message to one member, and what becomes of it when that leaves."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

RETAIN_AS_PUBLISHED = 0x08
only_5 = pytest.mark.parametrize("version", [5], ids=["5"])

Connect = Any  # the fixture `client`: makes a connected RawClient
Names = Any  # the fixture `name`: makes names


@pytest.fixture
def lasting(client: Connect, version: int) -> Callable[[str], RawClient]:
    """Connect a client whose session outlives its connection."""

    def connected(client_id: str) -> RawClient:
        expiry = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []
        found: RawClient = client(client_id, clean=False, props=expiry)
        return found

    return connected


def publish_to(client: Connect, topic: str, count: int, *, qos: int = 1, first: int = 0) -> None:
    publisher = client()
    for number in range(first, first + count):
        publisher.publish(topic, b"%d" % number, qos=qos)
    publisher.disconnect()


def numbers(member: RawClient, expected: int) -> list[int]:
    """Return what comes, `expected` at least, until nothing more does."""
    return [int(each.payload) for each in member.receive_until_quiet(at_least=expected)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_members_take_turns(client: Connect, name: Names, qos: int) -> None:
    """MQTT 5.0 §4.8.2: every message to one member of each group, besides those who subscribed for themselves."""
    topic = name()
    members = [client() for _ in range(3)]
    for member in members:
        assert member.subscribe((f"$share/group/{topic}/#", qos)) == (qos,)
    other_group, alone = client(), client()
    other_group.subscribe((f"$share/other/{topic}/+", qos))
    alone.subscribe((f"{topic}/#", qos))
    publish_to(client, f"{topic}/a", 30, qos=qos)
    received = [numbers(member, 10) for member in members]
    assert [len(each) for each in received] == [10, 10, 10]
    assert all(each == sorted(each) for each in received)
    assert sorted(chain.from_iterable(received)) == list(range(30))
    assert numbers(other_group, 30) == numbers(alone, 30) == list(range(30))


def test_v5_mqtt_4_8_2_3_each_member_at_its_own_qos(client: Connect, name: Names) -> None:
    topic = name()
    members = [client() for _ in range(3)]
    for qos, member in enumerate(members):
        member.subscribe((f"$share/group/{topic}", qos))
    publish_to(client, topic, 9, qos=2)
    received = [[each.qos for each in member.receive_until_quiet(at_least=3)] for member in members]
    assert received == [[0] * 3, [1] * 3, [2] * 3]


def test_what_a_member_did_not_acknowledge_goes_to_another(client: Connect, name: Names) -> None:
    """MQTT 5.0 §4.8.2: QoS 1 that was sent, and what had not been sent yet, when the member's session ends."""
    topic = name()
    leaving, staying = client(), client()
    leaving.subscribe((f"$share/group/{topic}", 1))
    staying.subscribe((f"$share/group/{topic}", 1))
    publish_to(client, topic, 10)
    kept = [leaving.receive_publish(acknowledge=False) for _ in range(5)]
    leaving.close()
    received = Counter(numbers(staying, 10))
    assert received == Counter(range(10))
    assert len(kept) == 5


@only_5
def test_what_waits_behind_a_members_window_goes_to_another(client: Connect, name: Names) -> None:
    topic = name()
    leaving, staying = client(props=[(mqtt.RECEIVE_MAXIMUM, 1)]), client()
    leaving.subscribe((f"$share/group/{topic}", 2))
    staying.subscribe((f"$share/group/{topic}", 2))
    publish_to(client, topic, 10, qos=2)
    sent = leaving.receive_publish(acknowledge=False)
    leaving.close()
    assert sorted(numbers(staying, 9)) == sorted(set(range(10)) - {int(sent.payload)})


def test_v5_mqtt_4_8_2_5_qos_2_begun_with_a_session_that_ends_goes_to_no_other(client: Connect, name: Names) -> None:
    topic = name()
    leaving, staying = client(), client()
    leaving.subscribe((f"$share/group/{topic}", 2))
    staying.subscribe((f"$share/group/{topic}", 2))
    publish_to(client, topic, 4, qos=2)
    begun = {int(leaving.receive_publish(acknowledge=False).payload) for _ in range(2)}
    leaving.close()
    assert set(numbers(staying, 2)) == set(range(4)) - begun


def test_v5_mqtt_4_8_2_4_qos_2_is_completed_with_its_member_when_it_is_back(
    lasting: Callable[[str], RawClient], client: Connect, name: Names
) -> None:
    topic, client_id = name(), name()
    leaving, staying = lasting(client_id), client()
    leaving.subscribe((f"$share/group/{topic}", 2))
    staying.subscribe((f"$share/group/{topic}", 2))
    publish_to(client, topic, 4, qos=2)
    begun = [leaving.receive_publish(acknowledge=False) for _ in range(2)]
    leaving.disconnect()
    publish_to(client, topic, 4, qos=2, first=4)  # its place is the other's while it is away
    assert sorted(numbers(staying, 6)) == sorted({*range(8)} - {int(each.payload) for each in begun})
    again = lasting(client_id).receive_until_quiet(at_least=2)
    assert [(each.payload, each.packet_id, each.dup) for each in again] == [
        (each.payload, each.packet_id, True) for each in begun
    ]


@only_5
@pytest.mark.parametrize(("qos", "answer"), [(1, mqtt.PUBACK), (2, mqtt.PUBREC)])
def test_v5_mqtt_4_8_2_6_what_a_member_refuses_goes_to_no_other(
    client: Connect, name: Names, qos: int, answer: int
) -> None:
    topic = name()
    refusing, staying = client(), client()
    refusing.subscribe((f"$share/group/{topic}", qos))
    staying.subscribe((f"$share/group/{topic}", qos))
    publish_to(client, topic, 2, qos=qos)
    refused = refusing.receive_publish(acknowledge=False)
    refusing.send(mqtt.packet(answer, 0, refused.packet_id.to_bytes(2, "big") + b"\x97"))
    refusing.ping()
    refusing.close()
    assert numbers(staying, 1) == [1 - int(refused.payload)]


def test_a_session_that_lasts_keeps_its_share_while_nobody_else_is_there(
    lasting: Callable[[str], RawClient], client: Connect, name: Names
) -> None:
    topic, client_id = name(), name()
    member = lasting(client_id)
    member.subscribe((f"$share/group/{topic}", 1))
    member.disconnect()
    publish_to(client, topic, 5)
    assert numbers(lasting(client_id), 5) == [*range(5)]


def test_the_queue_of_a_session_that_ends_goes_to_another(
    lasting: Callable[[str], RawClient], client: Connect, name: Names
) -> None:
    """A member that lasts, away with a queue, begins anew: what waited for it is another's."""
    topic, client_id = name(), name()
    member = lasting(client_id)
    member.subscribe((f"$share/group/{topic}", 1))
    member.disconnect()
    publish_to(client, topic, 450)  # more than one page
    staying = client()
    staying.subscribe((f"$share/group/{topic}", 1))
    client(client_id, clean=True)
    assert numbers(staying, 450) == [*range(450)]


def test_retained_messages_are_not_sent_to_a_new_member(client: Connect, name: Names, version: int) -> None:
    """MQTT 5.0 §3.8.3.1; a live one carries RETAIN where the member asked for it as published."""
    topic = name()
    publisher, member = client(), client()
    publisher.publish(topic, b"0", qos=1, retain=True)
    member.subscribe((f"$share/group/{topic}", (RETAIN_AS_PUBLISHED if version == 5 else 0) | 1))
    publisher.publish(topic, b"1", qos=1, retain=True)
    received = member.receive_until_quiet(at_least=1)
    assert [(each.payload, each.retain) for each in received] == [(b"1", version == 5)]


def test_who_unsubscribes_gets_no_more(client: Connect, name: Names) -> None:
    topic = name()
    leaving, staying = client(), client()
    leaving.subscribe((f"$share/group/{topic}", 1))
    staying.subscribe((f"$share/group/{topic}", 1))
    leaving.unsubscribe(f"$share/group/{topic}")
    publish_to(client, topic, 6)
    assert numbers(staying, 6) == [*range(6)]
    assert numbers(leaving, 0) == []
