"""A session that connects is subscribed all the while: what is acknowledged before its stored state is read, it gets too."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis
from stored_messages import await_stored

from store import schema
from store.link import pack
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from tests.broker.broker_process import BrokerProcess
    from tests.delivery.conftest import Nodes

At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
PERSISTENT: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
SESSIONS, MESSAGES = 10, 20
READS_ROUTES = pack(("GET", schema.ROUTES_VERSION))


def leave_subscribed(at: At, node: BrokerProcess, client_ids: list[str], topic: str) -> None:
    for client_id in client_ids:
        client = at(node, client_id, **PERSISTENT)
        client.subscribe((topic, 1))
        client.disconnect()


def send_connect(client: RawClient, client_id: str) -> RawClient:
    client.send(mqtt.connect(5, client_id, **PERSISTENT))
    return client


def send_numbers(client: RawClient, topic: str) -> None:
    """Send MESSAGES messages at once, and behind them what is none: where there are other nodes, messages alone may wait."""
    packets = [mqtt.publish(5, topic, b"%d" % number, qos=1, packet_id=number + 1) for number in range(MESSAGES)]
    client.send(b"".join([*packets, mqtt.subscribe(5, MESSAGES + 1, [("none", 0)])]))


def next_payload(client: RawClient) -> bytes:
    return client.receive_publish().payload


def assert_complete(sessions: list[RawClient], publisher: RawClient, topic: str) -> None:
    """Assert that all is acknowledged, that each session is accepted, and that it is sent every message once, in order."""
    for _ in range(MESSAGES):
        publisher.receive(mqtt.PUBACK)
    for session in sessions:
        assert mqtt.read_connack(5, session.receive(mqtt.CONNACK)).is_session_present
    publisher.send(mqtt.publish(5, topic, b"end", qos=1, packet_id=MESSAGES + 2))
    received = [list(iter(partial(next_payload, each), b"end")) for each in sessions]
    missing = sum(MESSAGES - len(set(each)) for each in received)
    assert missing == 0, f"{missing} of {MESSAGES * len(sessions)}"
    assert received == [[b"%d" % number for number in range(MESSAGES)]] * len(sessions)


@pytest.mark.parametrize("count", [1, 3])
def test_while_its_node_starts_and_the_store_is_frozen(
    new_nodes: Callable[[int], Nodes],
    at: At,
    opened: Callable[[BrokerProcess], RawClient],
    has_read: Callable[[BrokerProcess], None],
    count: int,
) -> None:
    nodes = new_nodes(count)
    client_ids = [f"session-{number}" for number in range(SESSIONS)]
    leave_subscribed(at, nodes[0], client_ids, "t")
    nodes[0].kill()
    nodes.store.pause()
    nodes[0].start()
    sessions = [send_connect(opened(nodes[0]), client_id) for client_id in client_ids]
    publisher = opened(nodes[0])
    publisher.send(mqtt.connect(5, "publisher"))
    send_numbers(publisher, "t")
    has_read(nodes[0])
    nodes.store.resume()
    assert_complete(sessions, publisher, "t")


@pytest.mark.parametrize("count", [1, 3])
def test_while_its_node_starts_and_the_store_answers_late(
    new_nodes: Callable[[int], Nodes],
    at: At,
    opened: Callable[[BrokerProcess], RawClient],
    has_read: Callable[[BrokerProcess], None],
    count: int,
) -> None:
    """The messages come when the session is the node's already, and its state has not been read."""
    nodes = new_nodes(count)
    leave_subscribed(at, nodes[0], ["session"], "t")
    nodes[0].kill()
    nodes.store.pause()
    nodes.proxy.hold_answer(pack(("XRANGE", schema.queue("session")))[4:])
    nodes[0].start()
    session, publisher = send_connect(opened(nodes[0]), "session"), opened(nodes[0])
    publisher.send(mqtt.connect(5, "publisher"))
    has_read(nodes[0])
    nodes.store.resume()
    publisher.receive(mqtt.CONNACK)
    eventually(lambda: nodes.proxy.is_holding, "the session's queue is read")
    send_numbers(publisher, "t")
    await_stored(nodes.store.url, {b"%d" % number for number in range(MESSAGES)})
    nodes.proxy.release()
    assert_complete([session], publisher, "t")


@pytest.mark.parametrize("is_connected", [False, True], ids=["away", "connected to another node"])
def test_while_its_node_reads_the_routes_anew(
    three: Nodes,
    at: At,
    opened: Callable[[BrokerProcess], RawClient],
    has_read: Callable[[BrokerProcess], None],
    name: Callable[[], str],
    is_connected: bool,
) -> None:
    """So many routes have changed that the store does not have all the changes any more."""
    topic, client_ids = name(), [name() for _ in range(SESSIONS)]
    leave_subscribed(at, three[1], client_ids, topic)
    if is_connected:
        for client_id in client_ids:
            at(three[1], client_id, **PERSISTENT)
    publisher = at(three[0], name())
    assert publisher.publish(topic + "/other", qos=1) == 0x10  # the node is up to date
    three.proxy.hold_answer(READS_ROUTES)
    with redis.Redis.from_url(three.store.url).pipeline() as change:
        change.incr(schema.ROUTES_VERSION)
        change.xtrim(schema.ROUTES, maxlen=0, approximate=False)
        change.execute()
    send_numbers(publisher, topic)
    eventually(lambda: three.proxy.is_holding, "the routes are read anew")
    sessions = [send_connect(opened(three[0]), client_id) for client_id in client_ids]
    has_read(three[0])
    three.proxy.release()
    assert_complete(sessions, publisher, topic)
