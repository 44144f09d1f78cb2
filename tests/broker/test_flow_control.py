"""Windows and sizes in both directions (MQTT 5.0 §4.9, §3.1.2.11.3, §3.1.2.11.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])


def _fill(client: Callable[..., RawClient], name: Callable[[], str], topic: str, count: int, **where: object) -> None:
    publisher = client(name(), **where)
    for number in range(count):
        publisher.publish(topic, b"%d" % number, qos=1)


@only_5
def test_v5_mqtt_3_3_4_9_the_clients_receive_maximum_is_respected(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    subscriber = client(name(), props=[(mqtt.RECEIVE_MAXIMUM, 2)])
    subscriber.subscribe((topic, 1))
    _fill(client, name, topic, 6)
    window = [subscriber.receive_publish(acknowledge=False) for _ in range(2)]
    subscriber.ping()  # other packets still pass (§4.9)
    subscriber.expect_nothing(0.3)
    subscriber.acknowledge(window[1])
    assert subscriber.receive_publish(acknowledge=False).payload == b"2"
    subscriber.expect_nothing(0.2)
    subscriber.acknowledge(window[0])
    rest = [subscriber.receive_publish() for _ in range(3)]
    assert [each.payload for each in rest] == [b"3", b"4", b"5"]


def test_the_send_window_holds_in_every_version(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(SEND_WINDOW="3")
    subscriber = client(name(), at=process)
    subscriber.subscribe(("t", 1))
    _fill(client, name, "t", 10, at=process)
    window = [subscriber.receive_publish(acknowledge=False) for _ in range(3)]
    subscriber.expect_nothing(0.3)
    for each in window:
        subscriber.acknowledge(each)
    rest = [subscriber.receive_publish() for _ in range(7)]
    assert [int(each.payload) for each in [*window, *rest]] == list(range(10))


@only_5
def test_v5_qos_0_passes_a_full_window(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """MQTT 5.0 §4.9: the quota counts QoS 1 and 2 only."""
    topic = name()
    subscriber, publisher = client(name(), props=[(mqtt.RECEIVE_MAXIMUM, 1)]), client(name())
    subscriber.subscribe((topic, 1))
    publisher.publish(topic, b"fills", qos=1)
    subscriber.receive_publish(acknowledge=False)
    publisher.publish(topic, b"passes", qos=0)
    assert subscriber.receive_publish().payload == b"passes"


@only_5
def test_v5_mqtt_3_3_4_7_more_than_the_servers_receive_maximum_is_an_error(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(RECEIVE_MAXIMUM="5")
    publisher = client(name(), at=process)
    for packet_id in range(1, 6):
        publisher.send(mqtt.publish(5, "t", b"x", qos=2, packet_id=packet_id))
        publisher.receive(mqtt.PUBREC)
    publisher.send(mqtt.publish(5, "t", b"one too many", qos=2, packet_id=6))
    packets = publisher.receive_until_closed()
    assert [mqtt.read_disconnect(each) for each in packets if each.type == mqtt.DISCONNECT] == [0x93]


@only_5
def test_v5_pubcomp_gives_the_window_back(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(RECEIVE_MAXIMUM="2")
    publisher = client(name(), at=process)
    for _ in range(10):
        assert publisher.publish("t", b"x", qos=2) < 0x80
        assert publisher.publish("t", b"x", qos=1) < 0x80


@only_5
def test_v5_mqtt_3_1_2_24_nothing_larger_than_the_client_can_take(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-24, -25]: too large a message is dropped as if delivered."""
    topic = name()
    subscriber, publisher = client(name(), props=[(mqtt.MAXIMUM_PACKET_SIZE, 200)]), client(name())
    subscriber.subscribe((topic, 1))
    for payload in (b"small", b"L" * 300, b"L" * 300, b"last"):
        publisher.publish(topic, payload, qos=1)
    assert [subscriber.receive_publish().payload for _ in range(2)] == [b"small", b"last"]


@only_5
def test_v5_mqtt_3_1_2_24_the_boundary_is_exact(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    size = len(mqtt.publish(5, topic, b"x" * 50))
    subscriber, publisher = client(name(), props=[(mqtt.MAXIMUM_PACKET_SIZE, size)]), client(name())
    subscriber.subscribe((topic, 0))
    for payload in (b"y" * 51, b"x" * 50):
        publisher.publish(topic, payload, qos=0)
    assert subscriber.receive_publish().payload == b"x" * 50


def test_too_large_a_packet_is_refused_at_its_header(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """MQTT 5.0 §3.2.2.3.6: 0x95; before the body is there, so that nobody makes a buffer grow."""
    process = start_broker(MAX_PACKET_BYTES="1024")
    bystander, greedy = client(name(), at=process), client(name(), at=process)
    greedy.send(bytes([mqtt.PUBLISH << 4]) + mqtt.varint(268_435_455))
    packets = greedy.receive_until_closed()
    assert [mqtt.read_disconnect(each) for each in packets] == ([0x95] if version == 5 else [])
    bystander.ping()
    assert "Traceback" not in process.log


def test_the_largest_packet_is_accepted(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker(MAX_PACKET_BYTES="1024")
    publisher = client(name(), at=process)
    publish = mqtt.publish(version, "t", b"x" * (1024 - len(mqtt.publish(version, "t", b"x" * 900)) + 900))
    assert len(publish) == 1024
    publisher.send(publish)
    publisher.ping()


def test_too_large_a_connect_is_refused(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], version: int
) -> None:
    process = start_broker(MAX_PACKET_BYTES="1024")
    connection = open_client(process)
    connection.send(bytes([mqtt.CONNECT << 4]) + mqtt.varint(100_000))
    assert all(packet.type in (mqtt.CONNACK, mqtt.DISCONNECT) for packet in connection.receive_until_closed(5))


@only_5
def test_a_client_that_sends_on_can_still_read_why_it_is_closed(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.3.4-9]: what meets the closing connection does not tear down the answer."""
    publisher, topic = client(name()), name()
    for packet_id in range(1, 1002):
        publisher.send(mqtt.publish(5, topic, qos=2, packet_id=packet_id))
    publisher.send(mqtt.publish(5, topic, bytes(100_000)) * 200)
    packets = publisher.receive_until_closed()
    assert [mqtt.read_disconnect(each) for each in packets if each.type == mqtt.DISCONNECT] == [0x93]
