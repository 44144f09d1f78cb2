"""SUBSCRIBE, UNSUBSCRIBE and which messages a subscription is given (MQTT 5.0 §3.8 to §3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])

INVALID_FILTERS = ["", "a/#/b", "a#", "#a", "a+", "+a/b", "a/b+/c", "sport/tennis#", "##", "++"]


def test_mqtt_3_8_4_5_one_code_for_each_filter_in_order(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.8.4-5], [v5 MQTT-3.8.4-6]."""
    subscriber, topic = client(name()), name()
    assert subscriber.subscribe((topic + "/a", 2), (topic + "/b", 0), (topic + "/+", 1)) == (2, 0, 1)


@pytest.mark.parametrize("topic_filter", INVALID_FILTERS)
def test_mqtt_4_7_1_invalid_filters_are_refused(
    client: Callable[..., RawClient], name: Callable[[], str], version: int, topic_filter: str
) -> None:
    """[v5 MQTT-4.7.1-1, -2; MQTT-4.7.3-1]: the packet is malformed; SUBACK 0x8F is for filters that are correctly formed."""
    for packet in (
        mqtt.subscribe(version, 1, [("good", 1), (topic_filter, 1)]),
        mqtt.unsubscribe(version, 1, [topic_filter]),
    ):
        subscriber = client(name())
        subscriber.send(packet)
        codes = [mqtt.read_disconnect(each) for each in subscriber.receive_until_closed()]
        assert codes == ([0x81] if version == 5 else [])


def test_overlapping_subscriptions_deliver_at_the_highest_qos(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.3.4-2], [v3.1.1 MQTT-3.3.5-1]: one copy at the highest QoS, or one for each subscription."""
    topic = name()
    subscriber, publisher = client(name()), client(name())
    subscriber.subscribe((topic + "/#", 0), (topic + "/+", 2), (topic + "/a", 1), ("marker" + topic, 2))
    publisher.publish(topic + "/a", b"x", qos=2)
    publisher.publish("marker" + topic, qos=2)
    received = subscriber.receive_up_to("marker" + topic)
    assert sorted(each.qos for each in received) in ([2], [0, 1, 2])


def test_mqtt_3_8_4_3_a_new_subscription_replaces_the_old(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    subscriber, publisher = client(name()), client(name())
    subscriber.subscribe((topic, 0))
    assert subscriber.subscribe((topic, 2)) == (2,)
    subscriber.subscribe(("marker" + topic, 2))
    publisher.publish(topic, b"x", qos=2)
    publisher.publish("marker" + topic, qos=2)
    assert [each.qos for each in subscriber.receive_up_to("marker" + topic)] == [2]


def test_resubscribing_sends_retained_messages_again(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v3.1.1 MQTT-3.8.4-3], [v5 MQTT-3.8.4-4] with Retain Handling 0."""
    topic = name()
    both = client(name())
    both.publish(topic, b"kept", qos=1, retain=True)
    for _ in range(2):
        both.subscribe((topic, 1))
        received = both.receive_publish()
        assert (received.payload, received.retain) == (b"kept", True)


def test_mqtt_3_10_4_2_nothing_comes_after_unsubscribe(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.10.4-2, -5], [v5 MQTT-3.10.4-2]; UNSUBACK has codes since MQTT 5."""
    topic = name()
    subscriber, publisher = client(name()), client(name())
    subscriber.subscribe(topic + "/a", topic + "/b")
    codes = subscriber.unsubscribe(topic + "/a", topic + "/never", topic + "/+")
    assert codes == ((0x00, 0x11, 0x11) if version == 5 else ())
    publisher.publish(topic + "/a", b"not subscribed", qos=1)
    publisher.publish(topic + "/b", b"subscribed", qos=1)
    assert subscriber.receive_up_to(topic + "/b") == []


def test_deep_topics_are_bounded(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker(MAX_TOPIC_LEVELS="8")
    deep = client(name(), at=process)
    assert deep.subscribe(("/".join("12345678"), 0)) == (0,)
    assert deep.subscribe(("/".join("123456789"), 0)) == ({3: 0, 4: 0x80, 5: 0x8F}[version],)  # 3.1 has no refusal
    bystander = client(name(), at=process)
    publisher = client(name(), at=process)
    publisher.send(mqtt.publish(version, "/".join("123456789"), b"x", qos=1, packet_id=1))
    answer = publisher.receive_until_closed() if version < 5 else [publisher.receive()]
    assert all(mqtt.read_disconnect(packet) == 0x90 for packet in answer if version == 5)
    assert all(packet.type != mqtt.PUBACK for packet in answer if version < 5)
    bystander.ping()
