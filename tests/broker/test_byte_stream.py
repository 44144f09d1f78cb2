"""A network connection is a stream of bytes: how it is cut means nothing (MQTT 5.0 §4.2), and order is kept (§4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient


def test_packets_may_come_byte_by_byte(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    connection, topic = open_client(), name()
    for data in (
        mqtt.connect(version, name()),
        mqtt.subscribe(version, 1, [(topic, 1)]),
        mqtt.publish(version, topic, b"payload" * 30, qos=1, packet_id=2),
        mqtt.PING,
    ):
        for position in range(len(data)):
            connection.send(data[position : position + 1])
    assert connection.receive().type == mqtt.CONNACK
    assert connection.receive(mqtt.SUBACK)
    assert connection.receive(mqtt.PUBACK)
    assert connection.receive_publish().payload == b"payload" * 30
    assert connection.receive(mqtt.PINGRESP)


@pytest.mark.parametrize("size", [2, 7, 1000, 65536])
def test_packets_may_be_cut_anywhere(
    client: Callable[..., RawClient], name: Callable[[], str], version: int, size: int
) -> None:
    both, topic = client(name()), name()
    both.subscribe((topic, 0))
    stream = b"".join(mqtt.publish(version, topic, b"%d" % number * (number % 40)) for number in range(200))
    for position in range(0, len(stream), size):
        both.send(stream[position : position + size])
    expected = [b"%d" % number * (number % 40) for number in range(200)]
    assert [both.receive_publish().payload for _ in range(200)] == expected


def test_every_kind_of_packet_in_one_segment(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    both, topic = client(name()), name()
    both.send(
        mqtt.subscribe(version, 1, [(topic, 2)])
        + mqtt.publish(version, topic, b"1", qos=2, packet_id=2)
        + mqtt.acknowledgement(mqtt.PUBREL, 2)
        + mqtt.publish(version, topic, b"2", qos=1, packet_id=3)
        + mqtt.publish(version, topic, b"3")
        + mqtt.PING
        + mqtt.unsubscribe(version, 4, [topic])
        + mqtt.PING
    )
    answers = [both.receive(kind) for kind in (mqtt.PUBREC, mqtt.PUBCOMP, mqtt.PUBACK, mqtt.UNSUBACK)]
    assert [mqtt.read_acknowledgement(version, each).packet_id for each in answers] == [2, 2, 3, 4]
    both.receive(mqtt.PINGRESP)
    both.receive(mqtt.PINGRESP)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_4_6_0_5_ten_thousand_messages_keep_their_order(
    client: Callable[..., RawClient], name: Callable[[], str], version: int, qos: int
) -> None:
    """[v3.1.1 MQTT-4.6.0-6], [v5 MQTT-4.6.0-5]."""
    subscriber, publisher, topic = client(name()), client(name()), name()
    subscriber.subscribe((topic, qos))
    count, burst = (10_000 if qos < 2 else 2_000), 20
    received: list[int] = []
    for start in range(0, count, burst):
        numbers = range(start, start + burst)
        publisher.send(
            b"".join(mqtt.publish(version, topic, b"%d" % each, qos=qos, packet_id=each + 1) for each in numbers)
        )
        if qos == 2:
            for _ in numbers:
                publisher.receive(mqtt.PUBREC)
            publisher.send(b"".join(mqtt.acknowledgement(mqtt.PUBREL, each + 1) for each in numbers))
        received += [int(subscriber.receive_publish().payload) for _ in numbers]
    assert received == list(range(count))
