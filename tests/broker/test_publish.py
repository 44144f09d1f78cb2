"""PUBLISH and its acknowledgements, QoS 0 to 2 in both directions (MQTT 5.0 §3.3 to §3.7, §4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])


@pytest.mark.parametrize("publish_qos", [0, 1, 2])
@pytest.mark.parametrize("subscription_qos", [0, 1, 2])
def test_mqtt_3_8_4_6_delivery_at_the_lower_qos(
    client: Callable[..., RawClient], name: Callable[[], str], publish_qos: int, subscription_qos: int
) -> None:
    """[v3.1.1 MQTT-3.8.4-6], [v5 MQTT-3.8.4-8]."""
    topic = name()
    subscriber, publisher = client(name()), client(name())
    assert subscriber.subscribe((topic, subscription_qos)) == (subscription_qos,)
    publisher.publish(topic, b"payload", qos=publish_qos)
    received = subscriber.receive_publish()
    assert (received.topic, received.payload) == (topic, b"payload")
    assert received.qos == min(publish_qos, subscription_qos)
    assert not received.retain
    assert not received.dup


def test_an_empty_payload_is_delivered(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    both = client(name())
    both.subscribe(topic)
    both.publish(topic, b"", qos=1)
    assert both.receive_publish().payload == b""


@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384, 200_000])
def test_payloads_of_every_length_arrive_unchanged(
    client: Callable[..., RawClient], name: Callable[[], str], size: int
) -> None:
    topic = name()
    both = client(name())
    both.subscribe(topic)
    payload = bytes(number & 255 for number in range(size))
    both.publish(topic, payload, qos=2)
    assert both.receive_publish().payload == payload


def test_topic_names_travel_unchanged(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    both, prefix = client(name()), name()
    both.subscribe(prefix + "/#")
    for topic in (f"{prefix}/a b", f"{prefix}//", f"{prefix}/température/Ω/😀", f"{prefix}/\ufeffbom"):
        both.publish(topic, b"x", qos=1)
        assert both.receive_publish().topic == topic


def test_mqtt_3_3_1_3_dup_is_not_passed_on(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    topic = name()
    both = client(name())
    both.subscribe((topic, 1))
    both.send(mqtt.publish(version, topic, b"x", qos=1, packet_id=77, dup=True))
    assert both.receive(mqtt.PUBACK)
    assert not both.receive_publish().dup


def test_mqtt_4_3_3_2_qos_2_is_delivered_once_until_released(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.3.3-2], [v5 MQTT-4.3.3-10, -12]."""
    topic = name()
    subscriber, publisher = client(name()), client(name())
    subscriber.subscribe((topic, 2))
    for dup in (False, True, True):
        publisher.send(mqtt.publish(version, topic, b"first", qos=2, packet_id=9, dup=dup))
        answer = mqtt.read_acknowledgement(version, publisher.receive(mqtt.PUBREC))
        assert answer.packet_id == 9
    for _ in range(2):
        publisher.send(mqtt.acknowledgement(mqtt.PUBREL, 9))
        publisher.receive(mqtt.PUBCOMP)
    publisher.send(mqtt.publish(version, topic, b"second", qos=2, packet_id=9))
    publisher.receive(mqtt.PUBREC)
    assert [subscriber.receive_publish().payload for _ in range(2)] == [b"first", b"second"]


def test_qos_2_is_delivered_once_over_a_reconnect(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    client_id, topic = name(), name()
    lasting = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []}
    subscriber, publisher = client(name()), client(client_id, **lasting)
    subscriber.subscribe((topic, 2), ("marker" + topic, 2))
    publisher.send(mqtt.publish(version, topic, b"x", qos=2, packet_id=9))
    publisher.receive(mqtt.PUBREC)
    publisher.close()
    back = client(client_id, **lasting)
    back.send(mqtt.publish(version, topic, b"x", qos=2, packet_id=9, dup=True))
    back.receive(mqtt.PUBREC)
    back.send(mqtt.acknowledgement(mqtt.PUBREL, 9))
    back.receive(mqtt.PUBCOMP)
    back.publish("marker" + topic, qos=2)
    assert len(subscriber.receive_up_to("marker" + topic)) == 1


def test_pubrel_for_an_unknown_identifier_is_answered(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.3.3-2], [v5 MQTT-4.3.3-11]: it may be one whose PUBCOMP got lost."""
    publisher = client(name())
    publisher.send(mqtt.acknowledgement(mqtt.PUBREL, 4711))
    answer = mqtt.read_acknowledgement(version, publisher.receive(mqtt.PUBCOMP))
    assert answer.packet_id == 4711
    assert answer.codes == ((0,) if version == 5 else ())
    publisher.ping()


@only_5
def test_v5_pubrel_is_completed_again_in_a_resumed_session(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """Its PUBCOMP may have been lost: MQTT 5.0 §3.7.2.1, 0x92 «is not an error during recovery», so it is no failure."""
    client_id, lasting = name(), {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 60)]}
    client(client_id, **lasting).close()
    back = client(client_id, **lasting)
    back.send(mqtt.acknowledgement(mqtt.PUBREL, 9))
    assert mqtt.read_acknowledgement(5, back.receive(mqtt.PUBCOMP)).codes == (0,)


@pytest.mark.parametrize("packet_type", [mqtt.PUBACK, mqtt.PUBCOMP])
def test_acknowledgements_of_unknown_identifiers_are_harmless(
    client: Callable[..., RawClient], name: Callable[[], str], packet_type: int
) -> None:
    stray = client(name())
    stray.send(mqtt.acknowledgement(packet_type, 4711))
    stray.ping()


def test_pubrec_of_an_unknown_identifier_is_answered(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.3.3-1], [v5 MQTT-4.3.3-4]: it may be one whose PUBREL got lost."""
    stray = client(name())
    stray.send(mqtt.acknowledgement(mqtt.PUBREC, 4711))
    assert max(mqtt.read_acknowledgement(version, stray.receive(mqtt.PUBREL)).codes, default=0) == 0


@only_5
def test_v5_a_refusing_pubrec_of_an_unknown_identifier_has_no_answer(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-4.3.3-4]: PUBREL follows a PUBREC below 0x80 only."""
    stray = client(name())
    stray.send(mqtt.packet(mqtt.PUBREC, 0, b"\x12\x67\x80") + mqtt.PING)
    assert stray.receive().type == mqtt.PINGRESP


def test_mqtt_4_6_0_2_pubacks_come_in_order(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v5 MQTT-4.6.0-2]."""
    publisher, topic = client(name()), name()
    identifiers = [3, 1, 65535, 2, 40, 41, 39]
    publisher.send(b"".join(mqtt.publish(version, topic, b"x", qos=1, packet_id=each) for each in identifiers))
    answers = [mqtt.read_acknowledgement(version, publisher.receive(mqtt.PUBACK)) for _ in identifiers]
    assert [each.packet_id for each in answers] == identifiers


def test_every_subscriber_gets_a_copy_and_the_publisher_too(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    subscribers = [client(name()) for _ in range(5)]
    for qos, subscriber in zip((0, 1, 2, 0, 1), subscribers, strict=True):
        subscriber.subscribe((topic, qos))
    subscribers[0].publish(topic, b"for all", qos=2)
    assert [each.receive_publish().payload for each in subscribers] == [b"for all"] * 5
