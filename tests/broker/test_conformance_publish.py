"""Statements on PUBLISH, its acknowledgements and delivery that no other test shows (§3.3 to §3.7, §4.3, §4.4, §4.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


def lasting(version: int) -> dict[str, Any]:
    """Arguments of `connect` for a session that outlives its connection."""
    return {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []}


@from_3_1_1
def test_mqtt_4_3_1_1_qos_0_has_neither_dup_nor_identifier(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-2.3.1-5], [v5 MQTT-2.2.1-2], [v5 MQTT-2.2.2-1], [MQTT-3.3.1-2], [MQTT-4.3.1-1]."""
    topic = name()
    both = client(name())
    both.subscribe(topic)
    both.publish(topic, b"payload")
    received = both.receive(mqtt.PUBLISH)
    assert received.flags == 0
    assert received.body == mqtt.text(topic) + (b"\x00" if version == 5 else b"") + b"payload"


@from_3_1_1
@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_4_3_2_1_new_messages_get_unused_identifiers(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int
) -> None:
    """[v3.1.1 MQTT-2.3.1-4], [v3.1.1 MQTT-4.3.2-1], [v3.1.1 MQTT-4.3.3-1].

    [v5 MQTT-2.2.1-4], [v5 MQTT-4.3.2-1, -2], [v5 MQTT-4.3.3-1, -2].
    """
    subscriber, publisher, topic = client(name()), client(name()), name()
    subscriber.subscribe((topic, qos))
    identifiers = set()
    for number in range(40):
        publisher.publish(topic, b"%d" % number, qos=qos)
        received = subscriber.receive_publish(acknowledge=False)
        assert not received.dup
        identifiers.add(received.packet_id)
    assert len(identifiers) == 40
    assert 0 not in identifiers


@from_3_1_1
@pytest.mark.parametrize("packet_id", [1, 77, 256, 65_535])
def test_mqtt_3_3_4_1_answers_carry_the_identifier(
    client: Callable[..., RawClient], name: Callable[[], str], packet_id: int, version: int
) -> None:
    """[v3.1.1 MQTT-2.3.1-6], [v3.1.1 MQTT-3.3.4-1], [v3.1.1 MQTT-4.3.2-2].

    [v5 MQTT-2.2.1-5], [v5 MQTT-3.3.4-1], [v5 MQTT-4.3.2-4], [v5 MQTT-4.3.3-8, -11].
    """
    publisher, topic = client(name()), name()
    for packet, answer_type in (
        (mqtt.publish(version, topic, qos=1, packet_id=packet_id), mqtt.PUBACK),
        (mqtt.publish(version, topic, qos=2, packet_id=packet_id), mqtt.PUBREC),
        (mqtt.acknowledgement(mqtt.PUBREL, packet_id), mqtt.PUBCOMP),
    ):
        publisher.send(packet)
        received = publisher.receive()
        answer = mqtt.read_acknowledgement(version, received)
        assert (received.type, answer.packet_id) == (answer_type, packet_id)
        assert max(answer.codes, default=0) in (0x00, 0x10)  # 0x10: nobody listens


@from_3_1_1
def test_mqtt_4_3_2_5_after_puback_an_identifier_stands_for_a_new_message(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.3.2-2], [v5 MQTT-4.3.2-5]: whatever DUP says."""
    topic = name()
    both = client(name())
    both.subscribe((topic, 1))
    for payload in (b"first", b"second"):
        both.send(mqtt.publish(version, topic, payload, qos=1, packet_id=7, dup=payload == b"second"))
        both.receive(mqtt.PUBACK)
    assert [both.receive_publish().payload for _ in range(2)] == [b"first", b"second"]


@only_5
def test_v5_mqtt_4_3_3_9_after_a_refusing_pubrec_an_identifier_stands_for_a_new_message(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    both = client(name())
    both.subscribe((topic, 2))
    for wanted, code in (("$SYS/x", 0x87), (topic, 0)):
        both.send(mqtt.publish(5, wanted, b"x", qos=2, packet_id=7))
        assert mqtt.read_acknowledgement(5, both.receive(mqtt.PUBREC)).codes == (code,)
    both.send(mqtt.acknowledgement(mqtt.PUBREL, 7))
    both.receive(mqtt.PUBCOMP)
    assert both.receive_publish().payload == b"x"


@only_5
@pytest.mark.parametrize(("qos", "answer_type"), [(1, mqtt.PUBACK), (2, mqtt.PUBREC)])
def test_v5_mqtt_4_4_0_2_what_the_client_refuses_does_not_come_again(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int, answer_type: int
) -> None:
    client_id, topic = name(), name()
    refusing = client(client_id, **lasting(5))
    refusing.subscribe((topic, qos))
    client(name()).publish(topic, b"refused", qos=qos)
    packet_id = refusing.receive_publish(acknowledge=False).packet_id
    refusing.send(mqtt.packet(answer_type, 0, packet_id.to_bytes(2, "big") + b"\x83"))
    refusing.ping()
    refusing.close()
    back = client(client_id, **lasting(5))
    back.publish(topic, b"next", qos=qos)
    assert back.receive_publish().payload == b"next"


@only_5
def test_v5_mqtt_4_3_3_7_what_was_sent_does_not_expire(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-4.3.3-7, -13]: it comes again, and its exchange is completed."""
    client_id, topic = name(), name()
    first = client(client_id, **lasting(5))
    first.subscribe((topic, 2))
    client(name()).publish(topic, b"short", qos=2, props=[(mqtt.MESSAGE_EXPIRY_INTERVAL, 1)])
    sent = first.receive_publish(acknowledge=False)
    first.expect_nothing(2.1)
    first.close()
    again = client(client_id, **lasting(5)).receive_publish()
    assert (again.payload, again.packet_id, again.dup) == (b"short", sent.packet_id, True)


@only_5
def test_v5_mqtt_3_3_4_10_other_packets_do_not_wait_for_the_receive_maximum(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.3.4-10], [v5 MQTT-4.9.0-3]."""
    topic = name()
    both = client(name(), props=[(mqtt.RECEIVE_MAXIMUM, 1)])
    both.subscribe((topic, 1))
    for _ in range(3):
        both.publish(topic, b"x", qos=1)
    both.receive_publish(acknowledge=False)
    both.ping()
    assert both.subscribe((topic + "/a", 1)) == (1,)
    assert both.publish(topic + "/b", b"x", qos=2) in (0, 0x10)
    assert both.unsubscribe(topic + "/a") == (0,)


@only_5
def test_v5_mqtt_3_1_2_26_no_alias_above_the_clients_maximum(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-26], [v5 MQTT-3.3.2-11]."""
    topic = name()
    both = client(name(), props=[(mqtt.TOPIC_ALIAS_MAXIMUM, 1)])
    both.subscribe((topic + "/#", 1))
    for number in range(10):
        both.publish(f"{topic}/{number % 3}", b"x", qos=1)
        assert both.receive_publish().values(mqtt.TOPIC_ALIAS) in ([], [1])


BROKEN = mqtt.text(b"\xff")
GOOD = mqtt.text("good")


@only_5
@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(b"\x26" + BROKEN + GOOD, id="name of a user property [1.5.7-1]"),
        pytest.param(b"\x26" + GOOD + BROKEN, id="value of a user property [1.5.7-1]"),
        pytest.param(b"\x08" + BROKEN, id="response topic [3.3.2-13]"),
        pytest.param(b"\x03" + BROKEN, id="content type [3.3.2-19]"),
    ],
)
def test_v5_mqtt_1_5_4_1_strings_of_properties_are_utf8(
    client: Callable[..., RawClient], name: Callable[[], str], properties: bytes
) -> None:
    publisher = client(name())
    publisher.send(mqtt.packet(mqtt.PUBLISH, 0, GOOD + mqtt.varint(len(properties)) + properties))
    assert [mqtt.read_disconnect(each) for each in publisher.receive_until_closed()] == [0x81]


@from_3_1_1
def test_mqtt_3_3_1_7_retained_messages_of_qos_0_replace_and_outlive_their_session(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.1.2-7], [v3.1.1 MQTT-3.3.1-7], [v5 MQTT-3.3.1-5]."""
    topic = name()
    publisher = client(name())
    publisher.publish(topic, b"old", qos=1, retain=True)
    publisher.publish(topic, b"new", retain=True)
    publisher.publish(name(), qos=1)  # its PUBACK tells that what came before is stored too
    publisher.disconnect()
    subscriber = client(name())
    subscriber.subscribe((topic, 1))
    received = subscriber.receive_publish()
    assert (received.payload, received.qos, received.retain) == (b"new", 0, True)


@from_3_1_1
@pytest.mark.parametrize("payload", [b"newer", b""])
def test_mqtt_3_3_1_12_without_retain_nothing_is_replaced(
    client: Callable[..., RawClient], name: Callable[[], str], payload: bytes
) -> None:
    """[v3.1.1 MQTT-3.3.1-12], [v5 MQTT-3.3.1-8]."""
    publisher, subscriber, topic = client(name()), client(name()), name()
    publisher.publish(topic + "/kept", b"kept", qos=1, retain=True)
    for suffix in ("/kept", "/never"):
        publisher.publish(topic + suffix, payload, qos=1)
    subscriber.subscribe((topic + "/#", 1))
    received = subscriber.receive_until_quiet(at_least=1)
    assert [(each.topic, each.payload) for each in received] == [(topic + "/kept", b"kept")]
