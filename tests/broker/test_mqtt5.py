"""What MQTT 5 adds to PUBLISH and SUBSCRIBE (MQTT 5.0 §3.3.2.3, §3.8.2.1, §3.8.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from raw import RawClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from conftest import Address

pytestmark = pytest.mark.parametrize("version", [5], ids=["5"])
LASTING: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]
NO_LOCAL = 4


def test_mqtt_3_3_2_17_properties_are_forwarded(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.3.2-4, -15, -16, -17, -18, -20]: unaltered, and user properties in their order."""
    topic = name()
    both = client(name())
    both.subscribe(topic)
    properties: mqtt.Properties = [
        (mqtt.PAYLOAD_FORMAT, 1),
        (mqtt.CONTENT_TYPE, "application/json"),
        (mqtt.RESPONSE_TOPIC, "answers/7"),
        (mqtt.CORRELATION_DATA, b"\x00\xff"),
        (mqtt.USER_PROPERTY, ("b", "1")),
        (mqtt.USER_PROPERTY, ("a", "2")),
        (mqtt.USER_PROPERTY, ("b", "3")),
    ]
    both.publish(topic, b"{}", qos=1, props=properties)
    received = both.receive_publish()
    assert received.values(mqtt.USER_PROPERTY) == [("b", "1"), ("a", "2"), ("b", "3")]
    assert sorted(received.properties, key=str) == sorted(properties, key=str)


def test_properties_do_not_reach_older_clients(
    broker: Address, client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    with RawClient(broker.host, broker.port, 4) as older:
        older.connect(name())
        older.subscribe(topic)
        client(name()).publish(topic, b"payload", qos=1, props=[(mqtt.USER_PROPERTY, ("k", "v"))])
        assert older.receive_publish().payload == b"payload"


def test_mqtt_3_3_2_5_messages_expire_while_they_wait(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    client_id, topic = name(), name()
    away = client(client_id, props=LASTING)
    away.subscribe((topic, 1))
    away.close()
    publisher = client(name())
    for payload, expiry in ((b"short", 1), (b"long", 300)):
        publisher.publish(topic, payload, qos=1, props=[(mqtt.MESSAGE_EXPIRY_INTERVAL, expiry)])
    publisher.publish(topic, b"for ever", qos=1)
    publisher.expect_nothing(2.1)
    back = client(client_id, clean=False, props=LASTING)
    received = [back.receive_publish() for _ in range(2)]
    assert [each.payload for each in received] == [b"long", b"for ever"]
    (left,) = received[0].values(mqtt.MESSAGE_EXPIRY_INTERVAL)
    assert isinstance(left, int)
    assert 280 < left <= 298  # [v5 MQTT-3.3.2-6]
    assert received[1].values(mqtt.MESSAGE_EXPIRY_INTERVAL) == []


def test_a_clients_topic_alias_stands_for_its_topic(
    open_client: Callable[..., RawClient], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    subscriber, publisher = client(name()), open_client()
    subscriber.subscribe((topic + "/#", 1))
    announced = publisher.connect(name()).value(mqtt.TOPIC_ALIAS_MAXIMUM)
    assert isinstance(announced, int)
    assert announced > 0
    for alias, suffix in ((1, "/a"), (announced, "/b"), (1, ""), (announced, ""), (1, "/c"), (1, "")):
        publisher.publish(topic + suffix if suffix else "", b"x", qos=1, props=[(mqtt.TOPIC_ALIAS, alias)])
    received = [subscriber.receive_publish() for _ in range(6)]
    assert [each.topic.removeprefix(topic) for each in received] == ["/a", "/b", "/a", "/b", "/c", "/c"]
    assert all(each.values(mqtt.TOPIC_ALIAS) == [] for each in received)  # [v5 MQTT-3.3.2-7]: aliases are not forwarded


def test_a_topic_alias_ends_with_its_connection(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.3.2-7]."""
    client_id = name()
    first = client(client_id, props=LASTING)
    first.publish(name(), b"x", qos=1, props=[(mqtt.TOPIC_ALIAS, 1)])
    first.disconnect()
    again = client(client_id, clean=False, props=LASTING)
    again.send(mqtt.publish(5, "", b"x", qos=1, packet_id=1, props=[(mqtt.TOPIC_ALIAS, 1)]))
    assert [mqtt.read_disconnect(each) for each in again.receive_until_closed()] in ([0x82], [0x94])


def test_mqtt_3_1_2_26_no_alias_to_clients_that_allow_none(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    both = client(name())
    both.subscribe(topic)
    for _ in range(20):
        both.publish(topic, b"x", qos=1)
        received = both.receive_publish()
        assert (received.topic, received.values(mqtt.TOPIC_ALIAS)) == (topic, [])


def test_mqtt_3_8_3_3_no_local(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    local, other = client(name()), client(name())
    local.subscribe((topic, 1 | NO_LOCAL), ("marker" + topic, 1))
    local.publish(topic, b"my own", qos=1)
    other.publish(topic, b"of another", qos=1)
    other.publish("marker" + topic, qos=1)
    assert [each.payload for each in local.receive_up_to("marker" + topic)] == [b"of another"]


def test_mqtt_3_3_4_3_subscription_identifiers(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.3.4-3, -4, -5]."""
    topic = name()
    subscriber, publisher = client(name()), client(name())
    subscriber.subscribe((topic + "/#", 1), props=[(mqtt.SUBSCRIPTION_IDENTIFIER, 1)])
    subscriber.subscribe((topic + "/+", 1), props=[(mqtt.SUBSCRIPTION_IDENTIFIER, 268_435_455)])
    subscriber.subscribe((topic + "/a", 1), ("marker" + topic, 1))
    publisher.publish(topic + "/a", b"x", qos=1)
    publisher.publish("marker" + topic, qos=1)
    received = subscriber.receive_up_to("marker" + topic)
    identifiers = sorted(value for each in received for value in each.values(mqtt.SUBSCRIPTION_IDENTIFIER))
    assert identifiers == [1, 268_435_455]
    assert len(received) in (1, 3)


def test_a_subscription_identifier_is_replaced_with_its_subscription(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    both = client(name())
    for props, expected in (
        ([(mqtt.SUBSCRIPTION_IDENTIFIER, 7)], [7]),
        ([(mqtt.SUBSCRIPTION_IDENTIFIER, 8)], [8]),
        ([], []),
    ):
        both.subscribe((topic, 1), props=props)
        both.publish(topic, b"x", qos=1)
        assert both.receive_publish().values(mqtt.SUBSCRIPTION_IDENTIFIER) == expected


def test_puback_may_tell_that_nobody_listens(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """MQTT 5.0 §3.4.2.1: 0x10 is allowed where no subscriber matches, and only there."""
    publisher, topic = client(name()), name()
    assert publisher.publish(topic, b"x", qos=1) in (0x00, 0x10)
    publisher.subscribe(topic)
    assert publisher.publish(topic, b"x", qos=1) == 0x00


def test_the_will_delay_and_expiry_of_a_session_are_capped(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(MAX_SESSION_EXPIRY_S="1")
    client_id, watcher = name(), open_client(process)
    watcher.connect(name())
    watcher.subscribe("w")
    dying = open_client(process)
    will = mqtt.Will("w", b"session ended", properties=[(mqtt.WILL_DELAY_INTERVAL, 600)])
    answer = dying.connect(client_id, will=will, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 0xFFFFFFFF)])
    assert answer.value(mqtt.SESSION_EXPIRY_INTERVAL) == 1
    dying.close()
    assert watcher.receive_publish().payload == b"session ended"
    assert not open_client(process).connect(client_id, clean=False).is_session_present
