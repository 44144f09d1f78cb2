"""The store goes and comes back: nothing waits for an answer that was lost with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
from stored_messages import stored_payloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

    from local.valkey import EmbeddedValkey
    from tests.broker.broker_process import BrokerProcess

At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
LASTING: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
MESSAGES = 700
"""More than is sent and loaded without asking the store again."""


def test_a_queue_goes_on_when_the_answer_that_brings_more_of_it_is_lost(
    start_node: Callable[..., BrokerProcess], at: At, cluster_store: EmbeddedValkey
) -> None:
    """The client has acknowledged all it was sent: nothing but the store's return makes the node ask again."""
    node = start_node()
    at(node, "waiting", **LASTING).subscribe(("t", 1))
    at(node, "waiting", **LASTING).disconnect()
    publisher = at(node, "publisher")
    for number in range(MESSAGES):
        publisher.publish("t", b"%d" % number, qos=1)
    client = at(node, "waiting", **LASTING)
    received = [client.receive_publish(acknowledge=False)]
    cluster_store.pause()
    client.acknowledge(received[0])
    received += client.receive_until_quiet(at_least=100)
    assert 100 < len(received) < MESSAGES
    cluster_store.kill()
    cluster_store.start()
    received += client.receive_until_quiet(3, at_least=MESSAGES - len(received))
    assert [int(each.payload) for each in received] == list(range(MESSAGES))


def test_what_was_sent_before_a_reconnect_is_acknowledged_behind_connack(
    start_node: Callable[..., BrokerProcess],
    opened: Callable[[BrokerProcess], RawClient],
    at: At,
    cluster_store: EmbeddedValkey,
) -> None:
    """[v5 MQTT-3.2.0-1] CONNACK comes first, also when an earlier message is stored before the session is read."""
    node = start_node()
    before = at(node, "publisher", **LASTING)
    cluster_store.pause()
    before.send(mqtt.publish(5, "t", b"once", qos=2, packet_id=7))
    again = opened(node)
    again.send(mqtt.connect(5, "publisher", **LASTING))
    assert before.receive_until_closed()[-1].type == mqtt.DISCONNECT  # the node has seen both
    cluster_store.resume()
    assert again.receive().type == mqtt.CONNACK
    again.send(mqtt.publish(5, "t", b"once", qos=2, packet_id=7, dup=True))
    assert mqtt.read_acknowledgement(5, again.receive(mqtt.PUBREC)).packet_id == 7
    assert stored_payloads(cluster_store.url).count(b"once") == 1
