"""Statements on SUBSCRIBE and UNSUBSCRIBE that no other test shows (§3.8 to §3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


@pytest.mark.parametrize("packet_id", [1, 256, 65_535])
def test_mqtt_3_8_4_2_answers_carry_the_identifier(
    client: Callable[..., RawClient], name: Callable[[], str], packet_id: int, version: int
) -> None:
    """[v3.1.1 MQTT-2.3.1-7], [v3.1.1 MQTT-3.8.4-1, -2], [v3.1.1 MQTT-3.10.4-4, -5].

    [v5 MQTT-2.2.1-6], [v5 MQTT-3.8.4-1, -2], [v5 MQTT-3.10.4-4, -5].
    """
    subscriber, topic = client(name()), name()
    subscriber.send(mqtt.subscribe(version, packet_id, [(topic, 1)]))
    assert mqtt.read_acknowledgement(version, subscriber.receive(mqtt.SUBACK)).packet_id == packet_id
    for _ in range(2):  # the second time there is nothing to delete
        subscriber.send(mqtt.unsubscribe(version, packet_id, [topic]))
        assert mqtt.read_acknowledgement(version, subscriber.receive(mqtt.UNSUBACK)).packet_id == packet_id


def test_mqtt_3_8_4_4_many_filters_have_one_answer(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.8.4-4], [v3.1.1 MQTT-3.9.3-1], [v5 MQTT-3.8.4-5, -6, -7], [v5 MQTT-3.9.3-1]."""
    subscriber, topic = client(name()), name()
    refused = 0x8F if version == 5 else 0x80
    wanted = [(f"{topic}/{number}", number % 3) for number in range(50)]
    wanted[7] = (f"{topic}/too/deep" * 50, 1)
    assert subscriber.subscribe(*wanted) == tuple(refused if at == 7 else qos for at, (_, qos) in enumerate(wanted))
    subscriber.publish(f"{topic}/49", b"x", qos=1)
    assert subscriber.receive_publish().topic == f"{topic}/49"
    subscriber.send(mqtt.PING)
    assert subscriber.receive().type == mqtt.PINGRESP  # no second SUBACK


def test_mqtt_3_10_4_6_many_filters_have_one_answer(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[MQTT-3.10.4-6], [v5 MQTT-3.11.3-1]."""
    subscriber, topic = client(name()), name()
    subscriber.subscribe(topic + "/a", topic + "/b", topic + "/marker")
    codes = subscriber.unsubscribe(topic + "/a", topic + "/never", topic + "/b", topic + "/a")
    assert codes == ((0, 0x11, 0, 0x11) if version == 5 else ())
    subscriber.send(mqtt.PING)
    assert subscriber.receive().type == mqtt.PINGRESP  # no second UNSUBACK
    for suffix in ("/a", "/b", "/marker"):
        subscriber.publish(topic + suffix, qos=1)
    assert subscriber.receive_up_to(topic + "/marker") == []


def test_mqtt_3_10_4_1_filters_are_compared_exactly(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    subscriber, topic = client(name()), name() + "/a"
    subscriber.subscribe(topic)
    subscriber.unsubscribe(topic.upper(), topic + "/", "/" + topic, "#", "+/a", topic + "/#", topic[:-1] + "á")
    subscriber.publish(topic, b"still subscribed", qos=1)
    assert subscriber.receive_publish().payload == b"still subscribed"


def test_mqtt_3_10_4_3_deliveries_begun_are_completed_after_unsubscribe(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    client_id, topic = name(), name()
    lasting = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []
    first = client(client_id, clean=False, props=lasting)
    first.subscribe((topic, 2))
    publisher = client(name())
    for qos in (1, 2):
        publisher.publish(topic, b"%d" % qos, qos=qos)
    begun = [first.receive_publish(acknowledge=False) for _ in range(2)]
    first.unsubscribe(topic)
    first.send(mqtt.acknowledgement(mqtt.PUBREC, begun[1].packet_id))
    assert mqtt.read_acknowledgement(version, first.receive(mqtt.PUBREL)).packet_id == begun[1].packet_id
    first.send(mqtt.acknowledgement(mqtt.PUBCOMP, begun[1].packet_id))
    first.close()
    again = client(client_id, clean=False, props=lasting).receive_publish()
    assert (again.payload, again.packet_id, again.dup) == (b"1", begun[0].packet_id, True)
