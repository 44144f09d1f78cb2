"""Sessions that survive: kill -9 of the broker at each point of a delivery, and of a store that keeps its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually
from raw import RawClient

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey


def lasting(version: int) -> dict[str, Any]:
    return {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []}


def back(process: BrokerProcess, client_id: str, version: int) -> RawClient:
    client = RawClient(process.host, process.port, version)
    connack = client.connect(client_id, **lasting(version))
    assert connack.code == 0
    assert connack.is_session_present is (version != 3)  # MQTT 3.1 has no such flag
    return client


def publish(process: BrokerProcess, topic: str, payloads: list[bytes], qos: int = 1) -> None:
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("publisher")
        for payload in payloads:
            publisher.publish(topic, payload, qos=qos)


def subscribed(process: BrokerProcess, client_id: str, version: int, qos: int) -> RawClient:
    client = RawClient(process.host, process.port, version)
    assert client.connect(client_id, **lasting(version)).code == 0
    client.subscribe(("t/#", qos))
    return client


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_3_1_2_5_queue_and_subscriptions_survive_a_kill(
    start_broker: Callable[..., BrokerProcess], version: int, qos: int
) -> None:
    process = start_broker()
    subscribed(process, "lasting", version, qos).close()
    payloads = [b"%d" % number for number in range(300)]
    publish(process, "t/a", payloads[:150], qos)
    process.restart()
    publish(process, "t/a", payloads[150:], qos)  # its subscription is known before it comes back
    with back(process, "lasting", version) as client:
        received = [client.receive_publish() for _ in payloads]
    assert [each.payload for each in received] == payloads
    assert {each.qos for each in received} == {qos}
    assert not any(each.dup for each in received)  # none was sent before


def test_mqtt_4_4_0_1_unacknowledged_messages_are_sent_again_as_they_were(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, version: int
) -> None:
    process = start_broker()
    client = subscribed(process, "lasting", version, 1)
    publish(process, "t/a", [b"one", b"two", b"three"])
    first = [client.receive_publish(acknowledge=False) for _ in range(3)]
    client.acknowledge(first[1])
    with redis.Redis.from_url(store.url) as stored:
        eventually(lambda: stored.xlen(schema.queue("lasting")) == 2, "the acknowledgement reaches the store")
    process.restart()
    client.close()
    with back(process, "lasting", version) as client:
        again = [client.receive_publish() for _ in range(2)]
        publish(process, "t/a", [b"four"])
        new = client.receive_publish()
    assert [(each.payload, each.packet_id, each.dup) for each in again] == [
        (each.payload, each.packet_id, True) for each in (first[0], first[2])
    ]
    assert (new.payload, new.dup) == (b"four", False)


def test_mqtt_4_3_3_1_a_message_whose_pubrec_came_is_only_released(
    start_broker: Callable[..., BrokerProcess], version: int
) -> None:
    process = start_broker()
    client = subscribed(process, "lasting", version, 2)
    publish(process, "t/a", [b"once"], qos=2)
    received = client.receive_publish(acknowledge=False)
    client.send(mqtt.acknowledgement(mqtt.PUBREC, received.packet_id))
    client.receive(mqtt.PUBREL)
    process.restart()
    client.close()
    with back(process, "lasting", version) as client:
        released = mqtt.read_acknowledgement(version, client.receive())
        assert released.packet_id == received.packet_id
        client.send(mqtt.acknowledgement(mqtt.PUBCOMP, received.packet_id))
        client.ping()
    with back(process, "lasting", version) as client:
        client.expect_nothing(0.2)


def test_nothing_that_was_queued_is_lost_when_the_store_is_killed(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    process = start_broker(ACK_AFTER="disk")
    subscribed(process, "lasting", 4, 1).close()
    payloads = [b"%d" % number for number in range(100)]
    publish(process, "t/a", payloads)
    store.kill()
    store.start()
    with back(process, "lasting", 4) as client:
        assert [client.receive_publish().payload for _ in payloads] == payloads


def test_clean_session_ends_what_the_store_kept(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    subscribed(process, "lasting", 4, 1).close()
    publish(process, "t/a", [b"never seen"])
    with RawClient(process.host, process.port, 4) as client:
        assert client.connect("lasting", clean=True).is_session_present is False
    process.restart()
    with RawClient(process.host, process.port, 4) as client:
        assert client.connect("lasting", clean=False).is_session_present is False
        client.expect_nothing(0.2)


def test_v5_mqtt_3_1_2_23_an_expired_session_is_gone_after_a_restart(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 5) as client:
        client.connect("short", clean=False, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 1)])
        client.subscribe(("t/#", 1))
    process.restart()

    with redis.Redis.from_url(store.url) as client:
        eventually(lambda: not client.keys("{log}:*:short") and not client.zcard(schema.SESSIONS), "it expires", 15)


def test_a_session_that_ends_right_after_a_message_was_sent_leaves_nothing(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 5) as client:
        client.connect("lasting", clean=False, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 300), (mqtt.RECEIVE_MAXIMUM, 1)])
        client.subscribe(("t/#", 1))
        publish(process, "t/a", [b"0", b"1"])
        first = client.receive_publish(acknowledge=False)
        store.pause()
        client.send(
            mqtt.publish(5, "other", b"", qos=1, packet_id=1)
        )  # on its way while the rest comes together behind it
        client.ping()
        client.acknowledge(first)
        assert client.receive_publish(acknowledge=False).payload == b"1"
        client.disconnect(0, [(mqtt.SESSION_EXPIRY_INTERVAL, 0)])
        store.resume()
    process.terminate()
    with redis.Redis.from_url(store.url) as stored:
        assert stored.keys("*lasting") == []


def test_a_long_queue_is_delivered_in_order_behind_the_window(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(QUEUE_MESSAGES="100000", QUEUE_BYTES="100000000", SEND_WINDOW="20")
    subscribed(process, "lasting", 4, 1).close()
    payloads = [b"%d" % number for number in range(5000)]
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("publisher")
        for start in range(0, 5000, 500):
            some = range(start, start + 500)
            publisher.send(b"".join(mqtt.publish(4, "t/a", payloads[each], qos=1, packet_id=each + 1) for each in some))
            for _ in some:
                publisher.receive(mqtt.PUBACK)
    process.restart()
    with back(process, "lasting", 4) as client:
        received = [client.receive_publish().payload for _ in range(2500)]
        publish(process, "t/a", [b"live"])  # joins the end, wherever the client is
        received += [client.receive_publish().payload for _ in range(2501)]
    assert received == [*payloads, b"live"]
