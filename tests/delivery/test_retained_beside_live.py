"""A new subscription's retained message and the live ones behind it: none older behind a newer one, none twice (§3.3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
from stored_messages import stored_messages

from store.retained import READ_RETAINED
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from tests.delivery.conftest import Nodes

At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
PERSISTENT: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
CLEAN: dict[str, Any] = {}
KINDS = pytest.mark.parametrize("kind", [PERSISTENT, CLEAN], ids=["persistent", "clean"])
FILTERS = pytest.mark.parametrize("topic_filter", ["{}", "{}/#"], ids=["literal", "wildcard"])
QOS = pytest.mark.parametrize("qos", [1, 2], ids=["QoS 1", "QoS 2"])
NODES = pytest.mark.parametrize("place", [0, 1], ids=["one node", "another node"])
ROUNDS = 300
LOOKUP = READ_RETAINED.sha.encode()


def await_lookup(nodes: Nodes) -> None:
    eventually(lambda: nodes.proxy.is_holding, "retained messages are looked up")


def stored(nodes: Nodes) -> set[tuple[str, bytes]]:
    return {(each.topic_name, each.payload) for each in stored_messages(nodes.store.url)}


def assert_newer_and_newer(received: list[int], last: int) -> None:
    assert received == sorted(set(received)), "an older one comes behind a newer one, or one twice"
    assert received[-1:] == [last], "the last is not what the store retains"


def payloads(client: RawClient) -> list[int]:
    return [int(each.payload) for each in client.receive_until_quiet()]


@KINDS
@FILTERS
def test_none_that_was_looked_up_before_a_newer_one_came_comes_behind_it(
    three: Nodes, at: At, name: Callable[[], str], kind: dict[str, Any], topic_filter: str
) -> None:
    topic = name()
    publisher, subscriber = at(three[0], name()), at(three[0], name(), **kind)
    publisher.publish(topic, b"1", qos=1, retain=True)
    three.proxy.hold_answer(LOOKUP)
    subscriber.subscribe((topic_filter.format(topic), 1))
    await_lookup(three)
    publisher.send(mqtt.publish(5, topic, b"2", qos=1, packet_id=1000, retain=True))
    eventually(lambda: (topic, b"2") in stored(three), "it is stored")
    three.proxy.release()
    assert_newer_and_newer(payloads(subscriber), 2)


@KINDS
@QOS
@FILTERS
def test_what_another_node_stores_before_the_lookup_comes_once(
    three: Nodes, at: At, name: Callable[[], str], kind: dict[str, Any], qos: int, topic_filter: str
) -> None:
    topic = name()
    publisher, subscriber = at(three[1], name()), at(three[0], name(), **kind)
    publisher.publish(topic, b"1", qos=qos, retain=True)
    three.proxy.hold_request(LOOKUP)
    subscriber.subscribe((topic_filter.format(topic), 2))
    await_lookup(three)
    for payload in (b"2", b"3"):
        publisher.publish(topic, payload, qos=qos, retain=True)
    three.proxy.release()
    assert_newer_and_newer(payloads(subscriber), 3)


@KINDS
@QOS
@FILTERS
def test_what_another_node_stores_before_suback_comes_once(
    three: Nodes, at: At, name: Callable[[], str], kind: dict[str, Any], qos: int, topic_filter: str
) -> None:
    topic = name()
    publisher, subscriber = at(three[1], name()), at(three[0], name(), **kind)
    publisher.publish(topic, b"1", qos=qos, retain=True)
    three.proxy.hold_answer(topic.encode())
    subscriber.send(mqtt.subscribe(5, 1, [(topic_filter.format(topic), 2)]))
    eventually(lambda: three.proxy.is_holding, "the subscription is stored")
    for payload in (b"2", b"3"):
        publisher.publish(topic, payload, qos=qos, retain=True)
    three.proxy.release()
    subscriber.receive(mqtt.SUBACK)
    assert_newer_and_newer(payloads(subscriber), 3)


@KINDS
@NODES
def test_subscribing_while_a_retained_message_changes(
    three: Nodes, at: At, name: Callable[[], str], kind: dict[str, Any], place: int
) -> None:
    """ROUNDS times, nothing held: two newer ones are published as the subscription is sent."""
    prefix = name()
    publisher, subscriber = at(three[place], name()), at(three[0], name(), **kind)
    for number in range(ROUNDS):
        topic = f"{prefix}/{number}"
        publisher.publish(topic, b"1", qos=1, retain=True)
        topic_filter = topic if number % 2 else f"{topic}/#"
        subscriber.send(mqtt.subscribe(5, number + 1, [(topic_filter, 1)]))
        for payload in (b"2", b"3"):
            publisher.publish(topic, payload, qos=1, retain=True)
    received: dict[str, list[int]] = {}
    for each in subscriber.receive_until_quiet():
        received.setdefault(each.topic, []).append(int(each.payload))
    wrong = [each for each in received.values() if each != sorted(set(each))]
    stale = [each for each in received.values() if each[-1] != 3]
    assert (len(received), wrong, stale) == (ROUNDS, [], []), f"{len(wrong)} wrong, {len(stale)} end stale"
