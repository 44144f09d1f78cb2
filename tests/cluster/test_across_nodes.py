"""Two nodes as one broker: what is subscribed, retained, queued or taken over at one counts at the other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis

from store import schema
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from tests.broker.broker_process import BrokerProcess

Pair = tuple["BrokerProcess", "BrokerProcess"]
At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
LASTING: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
TAKEN_OVER = 0x8E


def numbers(client: RawClient, at_least: int) -> list[int]:
    return [int(each.payload) for each in client.receive_until_quiet(at_least=at_least)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_published_at_one_node_is_received_at_the_other(
    pair: Pair, at: At, name: Callable[[], str], qos: int
) -> None:
    topic = name()
    with at(pair[0], name()) as subscriber, at(pair[1], name()) as publisher:
        subscriber.subscribe((f"{topic}/#", 2), (f"{topic}/+", 1))
        for number in range(200):
            publisher.publish(f"{topic}/a", b"%d" % number, qos=qos)
        received = subscriber.receive_until_quiet(at_least=200)
    assert [int(each.payload) for each in received] == list(range(200))
    assert {each.qos for each in received} == {qos}


def test_an_acknowledged_subscription_misses_nothing_that_is_acknowledged_afterwards(
    pair: Pair, at: At, name: Callable[[], str]
) -> None:
    with at(pair[0], name()) as subscriber, at(pair[1], name()) as publisher:
        for number in range(100):
            topic = name()
            subscriber.subscribe((topic, 1))
            publisher.publish(topic, b"%d" % number, qos=1)
            assert subscriber.receive_publish().payload == b"%d" % number
            subscriber.unsubscribe(topic)
            assert publisher.publish(topic, b"nobody", qos=1) == 0x10  # No matching subscribers, anywhere


def test_a_node_without_subscribers_is_not_sent_anything(
    pair: Pair, at: At, start_on_pair: Callable[[], BrokerProcess], name: Callable[[], str]
) -> None:
    third, topic = start_on_pair(), name()
    with at(pair[0], name()) as subscriber, at(pair[1], name()) as publisher, at(third, name()) as other:
        subscriber.subscribe((topic, 1))
        other.subscribe((f"other/{topic}", 1))
        before = inbox_entries(third)
        for number in range(50):
            publisher.publish(topic, b"%d" % number, qos=1)
        assert numbers(subscriber, 50) == list(range(50))
        assert inbox_entries(third) == before


def inbox_entries(node: BrokerProcess) -> int:
    """How many entries other nodes have ever put into a node's inbox."""
    node_id = node.log.partition("as node ")[2][:12]
    with redis.Redis.from_url(node.store_url) as store:
        return int(store.xinfo_stream(schema.of_node("inbox", node_id))["entries-added"])


def test_retained_messages_are_everywhere(pair: Pair, at: At, name: Callable[[], str]) -> None:
    topic = name()
    with at(pair[0], name()) as publisher, at(pair[1], name()) as subscriber:
        publisher.publish(topic, b"kept", qos=1, retain=True)
        subscriber.subscribe((topic, 1))
        received = subscriber.receive_publish()
        assert (received.payload, received.retain) == (b"kept", True)


def test_no_local_holds_across_nodes(pair: Pair, at: At, name: Callable[[], str]) -> None:
    """[v5 MQTT-3.8.3-3]: a client is the same wherever it is connected."""
    topic, client_id, no_local = name(), name(), 0x04 | 1
    client = at(pair[0], client_id, **LASTING)
    client.subscribe((topic, no_local))
    again = at(pair[1], client_id, **LASTING)
    again.publish(topic, b"own", qos=1)
    with at(pair[0], name()) as other:
        other.publish(topic, b"other's", qos=1)
    assert [each.payload for each in again.receive_until_quiet(at_least=1)] == [b"other's"]


def test_sys_tells_of_each_node_and_of_the_whole(pair: Pair, at: At, name: Callable[[], str]) -> None:
    with at(pair[0], name()) as here, at(pair[1], name()) as there:
        here.subscribe(("$SYS/broker/clients/connected", 0), ("$SYS/cluster/#", 0))
        there.subscribe(("$SYS/cluster/nodes", 0))
        seen: dict[str, int] = {}

        def both_have_told() -> bool:
            message = here.receive_publish(deadline_s=30)
            seen[message.topic] = int(message.payload)
            return (
                seen.get("$SYS/cluster/nodes") == 2
                and seen.get("$SYS/cluster/clients/connected", 0) >= 2
                and seen.get("$SYS/broker/clients/connected") == 1
            )

        eventually(both_have_told, "the numbers of each node and of the whole", 60)


# --- shared subscriptions


def test_a_group_over_nodes_gets_each_message_once(pair: Pair, at: At, name: Callable[[], str]) -> None:
    topic = name()
    members = [at(pair[place % 2], name()) for place in range(3)]
    for member in members:
        member.subscribe((f"$share/g/{topic}", 1))
    with at(pair[0], name()) as one, at(pair[1], name()) as other:
        for number in range(60):
            (one, other)[number % 2].publish(topic, b"%d" % number, qos=1)
    shares: list[list[int]] = [[] for _ in members]

    def all_have_come() -> bool:
        for share, member in zip(shares, members, strict=True):
            share.extend(numbers(member, 0))
        return sum(map(len, shares)) >= 60

    eventually(all_have_come, "each message at one of them")
    assert Counter(sum(shares, [])) == Counter(range(60))  # noqa: RUF017
    assert min(map(len, shares)) >= 10


def test_what_a_member_leaves_goes_to_one_at_another_node(pair: Pair, at: At, name: Callable[[], str]) -> None:
    topic = name()
    leaving, staying = at(pair[0], name()), at(pair[1], name())
    leaving.subscribe((f"$share/g/{topic}", 1))
    staying.subscribe((f"$share/g/{topic}", 1))
    with at(pair[0], name()) as publisher:
        for number in range(10):
            publisher.publish(topic, b"%d" % number, qos=1)
    leaving.receive_publish(acknowledge=False)
    leaving.close()
    assert sorted(numbers(staying, 10)) == list(range(10))


def test_members_that_last_and_are_away_are_asked_last(pair: Pair, at: At, name: Callable[[], str]) -> None:
    topic, away_id = name(), name()
    away = at(pair[0], away_id, **LASTING)
    away.subscribe((f"$share/g/{topic}", 1))
    away.disconnect()
    with at(pair[1], name()) as publisher:
        publisher.publish(topic, b"0", qos=1)
        with at(pair[0], name()) as member:
            member.subscribe((f"$share/g/{topic}", 1))
            publisher.publish(topic, b"1", qos=1)
            assert numbers(member, 1) == [1]
    assert numbers(at(pair[1], away_id, **LASTING), 1) == [0]


# --- sessions and wills that change nodes


def test_a_session_goes_on_at_another_node(
    pair: Pair, at: At, opened: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """Its queue, its subscriptions, what was in flight with DUP, and Session Present; the old connection is told 0x8E."""
    topic, client_id = name(), name()
    client = at(pair[0], client_id, **LASTING)
    client.subscribe((topic, 2))
    with at(pair[1], name()) as publisher:
        for number in range(3):
            publisher.publish(topic, b"%d" % number, qos=1 + number % 2)
        in_flight = [client.receive_publish(acknowledge=False) for _ in range(3)]
        client.publish(name(), qos=1)  # now the store knows that they were sent
        again = opened(pair[1])
        assert again.connect(client_id, **LASTING).is_session_present
        assert mqtt.read_disconnect(client.receive_until_closed()[-1]) == TAKEN_OVER
        repeats = [again.receive_publish() for _ in range(3)]
        assert [(each.payload, each.packet_id, each.dup) for each in repeats] == [
            (each.payload, each.packet_id, True) for each in in_flight
        ]
        publisher.publish(topic, b"3", qos=2)
        assert numbers(again, 1) == [3]
        again.disconnect()
        publisher.publish(topic, b"4", qos=2)
        assert numbers(at(pair[0], client_id, **LASTING), 1) == [4]


def test_a_clean_start_ends_a_session_of_another_node(
    pair: Pair, at: At, opened: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic, client_id = name(), name()
    at(pair[0], client_id, **LASTING).subscribe((topic, 1))
    clean = opened(pair[1])
    assert not clean.connect(client_id).is_session_present
    with at(pair[0], name()) as publisher:
        assert publisher.publish(topic, b"0", qos=1) == 0x10
    clean.disconnect()
    assert not opened(pair[0]).connect(client_id, **LASTING).is_session_present


def test_qos_2_is_stored_once_though_its_sender_moves(pair: Pair, at: At, name: Callable[[], str]) -> None:
    topic, client_id = name(), name()
    with at(pair[0], name()) as subscriber:
        subscriber.subscribe((topic, 2))
        for number in range(20):
            client = at(pair[number % 2], client_id, **LASTING)
            client.send(mqtt.publish(5, topic, b"%d" % number, qos=2, packet_id=7))
            client.receive(mqtt.PUBREC)
            moved = at(pair[1 - number % 2], client_id, **LASTING)
            moved.send(mqtt.publish(5, topic, b"%d" % number, qos=2, packet_id=7, dup=True))
            moved.receive(mqtt.PUBREC)
            moved.send(mqtt.acknowledgement(mqtt.PUBREL, 7))
            moved.receive(mqtt.PUBCOMP)
        assert numbers(subscriber, 20) == list(range(20))


def test_a_publisher_that_changes_nodes_stays_in_order(pair: Pair, at: At, name: Callable[[], str]) -> None:
    """What the old node had not stored when its client left it is not stored afterwards."""
    topic, client_id = name(), name()
    with at(pair[0], name()) as subscriber:
        subscriber.subscribe((topic, 1))
        for start in range(0, 400, 20):
            client = at(pair[start // 20 % 2], client_id)
            for number in range(start, start + 20):
                client.send(mqtt.publish(5, topic, b"%d" % number, qos=1, packet_id=number + 1))
        received = numbers(subscriber, 1)
        while received[-1] != 399:
            received += numbers(subscriber, 1)
    assert received == sorted(received)
    assert len(received) == len(set(received))
    assert set(range(380, 400)) <= set(received)


@pytest.mark.parametrize(("delay_s", "is_clean", "is_published"), [(0, False, 1), (60, False, 0), (60, True, 1)])
def test_the_will_of_a_connection_that_is_taken_over(
    pair: Pair, at: At, name: Callable[[], str], delay_s: int, is_clean: bool, is_published: int
) -> None:
    """[v5 MQTT-3.1.3-9]: not if its delay is cut short by a new connection to the session, once in any other case."""
    topic, client_id = name(), name()
    with at(pair[0], name()) as subscriber:
        subscriber.subscribe((topic, 1))
        will = mqtt.Will(topic, b"gone", qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, delay_s)])
        at(pair[0], client_id, will=will, **LASTING)
        client = at(pair[1], client_id, **(LASTING | {"clean": is_clean}))
        received = subscriber.receive_until_quiet(at_least=is_published)
        assert [each.payload for each in received] == [b"gone"] * is_published
        client.disconnect()
        assert subscriber.receive_until_quiet() == []
