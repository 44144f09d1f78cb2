"""Nodes that are killed, stopped, paused or leave: what they served goes on at the others, and they harm nothing later."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis

from store import schema
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.valkey import EmbeddedValkey
    from tests.broker.broker_process import BrokerProcess

At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
LASTING: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
TAKEN_OVER = 0x8E
PATIENCE_S = 30


@pytest.fixture
def start(start_node: Callable[..., BrokerProcess]) -> Callable[[], BrokerProcess]:
    """Start a node whose silence is death after two seconds."""
    return lambda: start_node(NODE_TIMEOUT_S="2")


def will(topic: str, payload: bytes, delay_s: int = 0) -> mqtt.Will:
    return mqtt.Will(topic, payload, qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, delay_s)])


def test_the_wills_of_a_killed_nodes_clients_are_published_once(start: Callable[[], BrokerProcess], at: At) -> None:
    """By one of two survivors; delayed ones later, those of clients that came back in time or said goodbye never."""
    first, second, dying = start(), start(), start()
    watcher = at(first, "watcher")
    watcher.subscribe(("wills", 1))
    for number in range(5):
        at(dying, f"plain-{number}", will=will("wills", b"plain %d" % number))
    at(dying, "late", will=will("wills", b"late", 3), **LASTING)
    at(dying, "back", will=will("wills", b"back", 60), **LASTING)
    at(dying, "polite", will=will("wills", b"polite")).disconnect()
    dying.kill()
    back = at(second, "back", **LASTING)
    received = {watcher.receive_publish(deadline_s=PATIENCE_S).payload for _ in range(6)}
    assert received == {b"late", *(b"plain %d" % number for number in range(5))}
    back.ping()
    assert watcher.receive_until_quiet(2) == []


def test_a_session_goes_on_after_its_node_was_killed(start: Callable[[], BrokerProcess], at: At) -> None:
    staying, dying = start(), start()
    client = at(dying, "lasting", **LASTING)
    client.subscribe(("t", 2))
    publisher = at(staying, "publisher")
    for number in range(50):
        publisher.publish("t", b"%d" % number, qos=1 + number % 2)
    client.receive_publish(acknowledge=False)
    dying.kill()
    for number in range(50, 100):
        publisher.publish("t", b"%d" % number, qos=1 + number % 2)
    again = at(staying, "lasting", **LASTING)  # at once: it does not wait until the dead node is given up
    assert [int(each.payload) for each in again.receive_until_quiet(at_least=100)] == list(range(100))


def test_the_session_of_a_killed_node_expires(
    start: Callable[[], BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    staying, dying = start(), start()
    client = at(dying, "short", clean=False, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 2)])
    client.subscribe(("t", 1))
    dying.kill()
    with redis.Redis.from_url(cluster_store.url) as store:
        eventually(lambda: not store.exists(schema.session("short")), "the session has expired", PATIENCE_S)
        eventually(lambda: not store.hexists(schema.OWNERS, "short"), "and nobody serves it")
    assert at(staying, "publisher").publish("t", b"0", qos=1) == 0x10  # No matching subscribers


def test_a_node_that_leaves_hands_its_sessions_over_at_once(start: Callable[[], BrokerProcess], at: At) -> None:
    staying, leaving = start(), start()
    watcher = at(staying, "watcher")
    watcher.subscribe(("wills", 1))
    client = at(leaving, "lasting", will=will("wills", b"delayed", 1), **LASTING)
    client.subscribe(("t", 1))
    began = time.monotonic()
    assert leaving.terminate() == 0
    assert time.monotonic() - began < 10
    assert at(staying, "publisher").publish("t", b"0", qos=1) == 0
    assert watcher.receive_publish(deadline_s=PATIENCE_S).payload == b"delayed"
    assert at(staying, "lasting", **LASTING).receive_publish().payload == b"0"


def test_a_node_that_was_paused_can_do_no_harm(
    start: Callable[[], BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    """It was given up: what it had received is not acknowledged, not stored and not sent; then it joins anew."""
    staying, paused = start(), start()
    subscriber = at(staying, "subscriber")
    subscriber.subscribe(("t/#", 1))
    moving, left_behind = at(paused, "moving", **LASTING), at(paused, "left-behind")
    os.kill(paused.pid, signal.SIGSTOP)
    try:
        for number in range(10):
            moving.send(mqtt.publish(5, "t/moving", b"stale %d" % number, qos=1, packet_id=number + 1))
            left_behind.send(mqtt.publish(5, "t/left", b"stale %d" % number, qos=2, packet_id=number + 1))
        moved = at(staying, "moving", **LASTING)
        moved.publish("t/moving", b"fresh", qos=1)
        assert subscriber.receive_publish().payload == b"fresh"
        with redis.Redis.from_url(cluster_store.url) as store:
            eventually(lambda: store.zcard(schema.MEMBERS) == 1, "the paused node is given up", PATIENCE_S)
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    for client in (moving, left_behind):
        assert {packet.type for packet in client.receive_until_closed(PATIENCE_S)} <= {mqtt.DISCONNECT}
    assert subscriber.receive_until_quiet() == []
    eventually(lambda: "as node" in paused.log.partition("given this one up")[2], "it joins anew", PATIENCE_S)
    at(paused, "newcomer").publish("t/new", b"after all", qos=1)
    assert subscriber.receive_publish().payload == b"after all"
    assert paused.terminate() == 0


def test_a_paused_node_that_is_told_to_stop_does_not_wait_for_what_it_can_never_store(
    start: Callable[[], BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    """As when it hangs while it is replaced, and goes on once it was given up."""
    staying, paused = start(), start()
    subscriber = at(staying, "subscriber")
    subscriber.subscribe(("t", 1))
    publisher = at(paused, "publisher", **LASTING)
    os.kill(paused.pid, signal.SIGSTOP)
    try:
        publisher.send(mqtt.publish(5, "t", b"stale", qos=1, packet_id=1))
        with redis.Redis.from_url(cluster_store.url) as store:
            eventually(lambda: store.zcard(schema.MEMBERS) == 1, "the paused node is given up", PATIENCE_S)
        os.kill(paused.pid, signal.SIGTERM)
    finally:
        os.kill(paused.pid, signal.SIGCONT)
    assert {packet.type for packet in publisher.receive_until_closed(PATIENCE_S)} <= {mqtt.DISCONNECT}
    assert paused.terminate() == 0
    assert "given this one up" in paused.log
    assert "did not take what was left" not in paused.log
    assert subscriber.receive_until_quiet() == []


def test_an_outage_of_the_store_is_nobodys_death(
    start: Callable[[], BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    first, second = start(), start()
    subscriber, publisher = at(first, "subscriber"), at(second, "publisher")
    subscriber.subscribe(("t", 1))
    cluster_store.pause()
    try:
        time.sleep(4)  # twice the time after which a node that does not beat is given up
    finally:
        cluster_store.resume()
    assert publisher.publish("t", b"0", qos=1) == 0
    assert subscriber.receive_publish().payload == b"0"
    time.sleep(3)
    assert publisher.publish("t", b"1", qos=1) == 0
    assert subscriber.receive_publish().payload == b"1"
    assert "given" not in first.log + second.log
    assert "silent" not in first.log + second.log


def test_a_brokers_next_process_takes_over_what_the_killed_one_left(start: Callable[[], BrokerProcess], at: At) -> None:
    """One process alone: its wills are published, and its sessions expire, once the next one runs."""
    alone = start()
    watcher = at(alone, "watcher", **LASTING)
    watcher.subscribe(("wills", 1))
    at(alone, "device", will=will("wills", b"gone"))
    alone.restart()
    watcher = at(alone, "watcher", **LASTING)
    assert watcher.receive_publish(deadline_s=PATIENCE_S).payload == b"gone"
    assert watcher.receive_until_quiet(1) == []
