"""Retained messages (MQTT 5.0 §3.3.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

    from local.valkey import EmbeddedValkey

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
QOS_1, RETAIN_AS_PUBLISHED = 1, 8
RETAIN_IF_NEW, NEVER_RETAINED = 0x10, 0x20


def _retained(subscriber: RawClient, topic_filter: str | tuple[str, int], expected: int) -> list[mqtt.Publish]:
    """Subscribe and return what comes, `expected` at least, until nothing more does: no packet says that these were all."""
    subscriber.subscribe(topic_filter)
    return subscriber.receive_until_quiet(at_least=expected)


def test_mqtt_3_3_1_5_a_new_subscriber_gets_the_last_retained_message(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.3.1-5, -6, -8], [v5 MQTT-3.3.1-5, -9]."""
    topic = name()
    publisher = client(name())
    for payload in (b"first", b"second"):
        publisher.publish(topic, payload, qos=1, retain=True)
    publisher.publish(topic, b"not retained", qos=1)
    subscriber = client(name())
    subscriber.subscribe(topic)
    received = subscriber.receive_publish()
    assert (received.topic, received.payload, received.retain, received.qos) == (topic, b"second", True, 1)
    publisher.publish(topic, b"live", qos=1)
    received = subscriber.receive_publish()
    assert (received.payload, received.retain) == (b"live", False)


def test_mqtt_3_3_1_9_established_subscriptions_see_no_retain_flag(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.3.1-9], [v5 MQTT-3.3.1-12]."""
    topic = name()
    both = client(name())
    both.subscribe(topic)
    both.publish(topic, b"x", qos=1, retain=True)
    assert not both.receive_publish().retain


def test_mqtt_3_3_1_10_an_empty_payload_clears(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v3.1.1 MQTT-3.3.1-10, -11], [v5 MQTT-3.3.1-6, -7]."""
    topic = name()
    both = client(name())
    both.subscribe(topic)
    for payload in (b"kept", b""):
        both.publish(topic, payload, qos=1, retain=True)
        assert both.receive_publish().payload == payload  # delivered as any other message
    assert _retained(client(name()), topic, 0) == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages_come_at_the_lower_qos(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int
) -> None:
    topic = name()
    client(name()).publish(topic, b"x", qos=2, retain=True)
    subscriber = client(name())
    subscriber.subscribe((topic, qos))
    assert subscriber.receive_publish().qos == qos


def test_wildcards_find_retained_messages(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    prefix = name()
    publisher = client(name())
    topics = [f"{prefix}/{device}/{field}" for device in ("a", "b") for field in ("t", "h")]
    for topic in [*topics, prefix, f"{prefix}x/a/t"]:
        publisher.publish(topic, topic.encode(), qos=1, retain=True)
    expected = {
        f"{prefix}/#": {*topics, prefix},
        f"{prefix}/+/t": {topics[0], topics[2]},
        f"{prefix}/a/+": set(topics[:2]),
    }
    for topic_filter, matching in expected.items():
        received = _retained(client(name()), topic_filter, len(matching))
        assert sorted(each.topic for each in received) == sorted(matching)


def test_a_retained_message_never_follows_a_newer_one(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """Promise 7: whoever subscribes while a device publishes is left with the newest value."""
    both = client(name())
    for _ in range(30):
        topic = name()
        both.publish(topic, b"old", qos=1, retain=True)
        both.send(
            mqtt.subscribe(version, 40_000, [(topic, 1)])
            + mqtt.publish(version, topic, b"new", qos=1, packet_id=40_001, retain=True)
        )
        both.receive(mqtt.SUBACK)
        both.receive(mqtt.PUBACK)
    last = {each.topic: each.payload for each in both.receive_until_quiet(at_least=30)}
    assert len(last) == 30
    assert {topic for topic, payload in last.items() if payload != b"new"} == set()


@pytest.mark.parametrize("is_lasting", [False, True], ids=["clean", "lasting"])
@pytest.mark.parametrize("topic_filter", ["plant/1", "plant/+"])
def test_what_is_retained_while_a_client_subscribes_comes_once(
    start_broker: Callable[..., BrokerProcess],
    store: EmbeddedValkey,
    client: Callable[..., RawClient],
    topic_filter: str,
    is_lasting: bool,
    version: int,
) -> None:
    """Its commit is under way when the subscription begins, and the store answers both later: live and as retained."""
    process = start_broker()
    lasts = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 60)] if version == 5 else []}
    publisher, subscriber = client("p", at=process), client("s", at=process, **(lasts if is_lasting else {}))
    publisher.publish("plant/2", b"before", qos=1, retain=True)
    store.pause()
    publisher.send(mqtt.publish(version, "plant/1", b"once", qos=1, packet_id=7, retain=True) + mqtt.PING)
    publisher.receive(mqtt.PINGRESP)
    subscriber.send(mqtt.subscribe(version, 7, [(topic_filter, 1)]) + mqtt.PING)
    subscriber.receive(mqtt.PINGRESP)
    store.resume()
    publisher.receive(mqtt.PUBACK)
    expected = [b"once"] if topic_filter == "plant/1" else [b"before", b"once"]
    received = [each.payload for each in subscriber.receive_until_quiet(at_least=len(expected))]
    assert sorted(received) == expected


def test_retained_messages_survive_a_crash(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker()
    publisher = client(name(), at=process)
    for number in range(50):
        publisher.publish(f"kept/{number}", b"%d" % number, qos=1, retain=True)
    publisher.publish("kept/0", b"", qos=1, retain=True)
    process.restart()
    subscriber = client(name(), at=process)
    subscriber.subscribe("kept/#")
    received = {each.topic: each.payload for each in (subscriber.receive_publish() for _ in range(49))}
    assert received == {f"kept/{number}": b"%d" % number for number in range(1, 50)}


def test_retained_messages_are_bounded(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker(RETAINED_MESSAGES="5")
    publisher = client(name(), at=process)
    for number in range(10):
        publisher.send(mqtt.publish(version, f"r/{number}", b"x", qos=1, packet_id=number + 1, retain=True))
        publisher.receive(mqtt.PUBACK)
    publisher.publish("r/0", b"replaced", qos=1, retain=True)  # replacing one adds none
    kept = {each.topic: each.payload for each in _retained(client(name(), at=process), "r/#", 5)}
    assert kept == {"r/0": b"replaced", "r/1": b"x", "r/2": b"x", "r/3": b"x", "r/4": b"x"}


@only_5
def test_v5_mqtt_3_3_1_13_retain_as_published(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    both = client(name())
    both.subscribe((topic, QOS_1 | RETAIN_AS_PUBLISHED))
    for retain in (True, False):
        both.publish(topic, b"x", qos=1, retain=retain)
        assert both.receive_publish().retain is retain


@only_5
@pytest.mark.parametrize(
    ("handling", "expected"), [(0, [True, True]), (RETAIN_IF_NEW, [True, False]), (NEVER_RETAINED, [False, False])]
)
def test_v5_mqtt_3_3_1_9_retain_handling(
    client: Callable[..., RawClient], name: Callable[[], str], handling: int, expected: list[bool]
) -> None:
    """[v5 MQTT-3.3.1-9, -10, -11]: at a new subscription, and at one that exists."""
    topic = name()
    both = client(name())
    both.publish(topic, b"kept", qos=1, retain=True)
    for is_sent in expected:
        received = _retained(both, (topic, QOS_1 | handling), int(is_sent))
        assert [each.payload for each in received] == [b"kept"] * is_sent


@only_5
def test_v5_retained_messages_keep_their_properties(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    properties: mqtt.Properties = [(mqtt.CONTENT_TYPE, "text/plain"), (mqtt.USER_PROPERTY, ("k", "v"))]
    client(name()).publish(topic, b"x", qos=1, retain=True, props=properties)
    subscriber = client(name())
    subscriber.subscribe(topic)
    assert sorted(subscriber.receive_publish().properties, key=str) == sorted(properties, key=str)


@only_5
def test_v5_retained_messages_expire(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.3.2-5]; MQTT 5.0 §3.3.2.3.3."""
    topic = name()
    publisher = client(name())
    for each, expiry in (("short", 1), ("long", 300)):
        publisher.publish(f"{topic}/{each}", b"x", qos=1, retain=True, props=[(mqtt.MESSAGE_EXPIRY_INTERVAL, expiry)])
    publisher.expect_nothing(2.1)
    subscriber = client(name())
    subscriber.subscribe(topic + "/#")
    received = subscriber.receive_publish()
    assert received.topic == topic + "/long"
    (left,) = received.values(mqtt.MESSAGE_EXPIRY_INTERVAL)
    assert isinstance(left, int)
    assert 280 < left <= 298  # [v5 MQTT-3.3.2-6]: less the time it waited
