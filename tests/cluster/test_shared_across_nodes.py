"""Shared subscriptions over nodes: what becomes of a member's messages when its session ends elsewhere, or its node dies."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
from cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from local.valkey import EmbeddedValkey
    from tests.broker.broker_process import BrokerProcess

Pair = tuple["BrokerProcess", "BrokerProcess"]
At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
LASTING: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
PATIENCE_S = 30


def numbers(client: RawClient, at_least: int) -> list[int]:
    return [int(each.payload) for each in client.receive_until_quiet(at_least=at_least)]


@pytest.mark.parametrize("qos", [1, 2])
def test_the_queue_of_a_member_that_begins_anew_at_another_node_goes_to_another_member(
    pair: Pair, at: At, name: Callable[[], str], qos: int
) -> None:
    """What it had not been sent, and what it had been sent at QoS 1 [v5 MQTT-4.8.2-5]."""
    topic, client_id = name(), name()
    member = at(pair[0], client_id, clean=False, props=[*LASTING["props"], (mqtt.RECEIVE_MAXIMUM, 2)])
    member.subscribe((f"$share/group/{topic}", qos))
    with at(pair[1], name()) as publisher, at(pair[0], name()) as staying:
        for number in range(450):
            publisher.publish(topic, b"%d" % number, qos=qos)
        sent = [int(member.receive_publish(acknowledge=False).payload) for _ in range(2)]
        member.disconnect()
        staying.subscribe((f"$share/group/{topic}", qos))
        at(pair[1], client_id)
        expected = [each for each in range(450) if qos == 1 or each not in sent]
        assert sorted(numbers(staying, len(expected))) == expected


@pytest.mark.parametrize(("qos", "is_adopted"), [(1, False), (2, False), (2, True)])
def test_what_is_handed_on_is_handed_on_once_though_nodes_die(
    start_node: Callable[..., BrokerProcess], at: At, qos: int, is_adopted: bool
) -> None:
    """A node is killed while it hands a queue on; or the next one, while it hands on what the first has left."""
    staying, *dying = (start_node(NODE_TIMEOUT_S="2", BATCH_BYTES="65536") for _ in range(3 if is_adopted else 2))
    messages = 900
    with at(staying, "publisher") as publisher:
        at(dying[0], "leaving", **LASTING).subscribe(("$share/group/t", qos))
        at(dying[0], "leaving", **LASTING).disconnect()
        for number in range(messages):
            publisher.send(mqtt.publish(5, "t", b"%-1000d" % number, qos=qos, packet_id=number + 1))
        for _ in range(messages):
            publisher.receive(mqtt.PUBACK if qos == 1 else mqtt.PUBREC)
    member = at(staying, "member", **LASTING)
    member.subscribe(("$share/group/t", qos))
    at(dying[0], "leaving")
    received = []
    for node in dying:
        received += [member.receive_publish(deadline_s=PATIENCE_S) for _ in range(3)]
        node.kill()
    received += member.receive_until_quiet(2, at_least=messages - len(received), deadline_s=PATIENCE_S)
    assert sorted(int(each.payload) for each in received) == [*range(messages)]


@pytest.mark.parametrize("trigger", [b"pass_on", b"XTRIM"])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_handed_on_is_handed_on_once_though_an_answer_is_lost(
    start_node: Callable[..., BrokerProcess], at: At, cluster_store: EmbeddedValkey, qos: int, trigger: bytes
) -> None:
    """The store has put a queue into an inbox, or handed it on from there, and the node does not hear that it has."""
    proxy = CuttingProxy(cluster_store.url.removeprefix("unix://"))
    node = start_node(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    at(node, "leaving", **LASTING).subscribe(("$share/group/t", qos))
    at(node, "leaving", **LASTING).disconnect()
    with at(node, "publisher") as publisher, at(node, "member", **LASTING) as member:
        for number in range(20):
            publisher.publish("t", b"%d" % number, qos=qos)
        member.subscribe(("$share/group/t", qos))
        proxy.cut_answer_to(trigger)
        at(node, "leaving")
        assert [int(each.payload) for each in member.receive_until_quiet(2, at_least=20)] == [*range(20)]
    assert proxy.cuts == 1
    node.kill()
    proxy.close()


def test_what_is_in_a_dead_nodes_inbox_is_handed_on_once(start_node: Callable[..., BrokerProcess], at: At) -> None:
    """The node is killed after it has put some of it into its member's queue."""
    staying, dying = (start_node(NODE_TIMEOUT_S="2", BATCH_BYTES="65536") for _ in range(2))
    messages = 900
    member, publisher = at(dying, "member", **LASTING), at(staying, "publisher")
    member.subscribe(("$share/group/t", 2))
    os.kill(dying.pid, signal.SIGSTOP)
    for number in range(messages):
        publisher.send(mqtt.publish(5, "t", b"%-1000d" % number, qos=2, packet_id=number + 1))
    for _ in range(messages):
        publisher.receive(mqtt.PUBREC)
    os.kill(dying.pid, signal.SIGCONT)
    member.receive_publish(acknowledge=False)
    dying.kill()
    again = at(staying, "member", **LASTING)
    received = again.receive_until_quiet(2, at_least=messages, deadline_s=PATIENCE_S)
    assert sorted(int(each.payload) for each in received) == [*range(messages)]


def test_v5_mqtt_4_8_2_5_what_a_member_was_sent_is_known_wherever_it_begins_anew(
    start_node: Callable[..., BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    """[v5 MQTT-4.8.2-5] At QoS 2, though its node is killed before it could say so: it says so first."""
    staying, dying = (start_node(NODE_TIMEOUT_S="2") for _ in range(2))
    member = at(dying, "member", clean=False, props=[*LASTING["props"], (mqtt.RECEIVE_MAXIMUM, 1)])
    member.subscribe(("$share/group/t", 2))
    with at(staying, "publisher") as publisher, at(staying, "other") as other:
        for number in range(5):
            publisher.publish("t", b"%d" % number, qos=2)
        first = member.receive_publish(acknowledge=False)
        cluster_store.pause()
        member.send(
            mqtt.packet(mqtt.PUBREC, 0, first.packet_id.to_bytes(2, "big") + b"\x97")
        )  # refused: the next, please
        member.expect_nothing(0.5)
        dying.kill()
        cluster_store.kill()  # with what it had not read
        cluster_store.start()
        other.subscribe(("$share/group/t", 2))
        at(staying, "member")
        received = other.receive_until_quiet(5, at_least=4, deadline_s=PATIENCE_S)  # and the killed node is given up
        assert sorted(int(each.payload) for each in received) == [*range(1, 5)]
