"""Topic aliases that the server defines towards clients that allow some (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [5], ids=["5"])
LASTING: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300), (mqtt.TOPIC_ALIAS_MAXIMUM, 4)]


class Names:
    """What a client has to do with aliases: remember the names."""

    def __init__(self) -> None:
        self.known: dict[mqtt.PropertyValue, str] = {}

    def of(self, publish: mqtt.Publish) -> str:
        """Return the topic name a message stands for. Raises KeyError for an alias that was never defined."""
        aliases = publish.values(mqtt.TOPIC_ALIAS)
        assert len(aliases) <= 1
        if publish.topic and aliases:
            self.known[aliases[0]] = publish.topic
        return publish.topic or self.known[aliases[0]]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_names_are_left_out_once_their_alias_is_known(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int
) -> None:
    topic, names = name(), Names()
    subscriber, publisher = client(name(), props=[(mqtt.TOPIC_ALIAS_MAXIMUM, 3)]), client(name())
    subscriber.subscribe((topic + "/#", qos))
    sent = [f"{topic}/{number % 3}" for number in range(30)]
    for each in sent:
        publisher.publish(each, b"x", qos=qos, props=[(mqtt.USER_PROPERTY, ("k", "v"))])
    received = [subscriber.receive_publish() for _ in sent]
    assert [names.of(each) for each in received] == sent
    assert len([each for each in received if not each.topic]) == 27  # all but the first of each
    assert {value for each in received for value in each.values(mqtt.TOPIC_ALIAS)} == {1, 2, 3}
    assert all(each.values(mqtt.USER_PROPERTY) == [("k", "v")] for each in received)


def test_more_topics_than_aliases(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.1.2-26]."""
    topic, names = name(), Names()
    subscriber, publisher = client(name(), props=[(mqtt.TOPIC_ALIAS_MAXIMUM, 2)]), client(name())
    subscriber.subscribe((topic + "/#", 1))
    sent = [f"{topic}/{(number // 3) % 5}" for number in range(60)]
    for each in sent:
        publisher.publish(each, b"x", qos=1)
    received = [subscriber.receive_publish() for _ in sent]
    assert [names.of(each) for each in received] == sent
    assert {value for each in received for value in each.values(mqtt.TOPIC_ALIAS)} == {1, 2}


def test_v5_mqtt_3_3_2_7_a_new_connection_starts_without_aliases(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.3.2-7]: what comes again has its full name."""
    client_id, topic = name(), name()
    first, publisher = client(client_id, props=LASTING), client(name())
    first.subscribe((topic, 1))
    for _ in range(4):
        publisher.publish(topic, b"x", qos=1)
    assert [first.receive_publish(acknowledge=False).topic for _ in range(4)] == [topic, "", "", ""]
    first.close()
    again, names = client(client_id, clean=False, props=LASTING), Names()
    received = [again.receive_publish() for _ in range(4)]
    assert [names.of(each) for each in received] == [topic] * 4
    assert received[0].topic == topic


def test_a_client_that_comes_back_without_aliases_gets_none(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-27]."""
    client_id, topic = name(), name()
    first, publisher = client(client_id, props=LASTING), client(name())
    first.subscribe((topic, 1))
    for _ in range(3):
        publisher.publish(topic, b"x", qos=1)
    first.receive_publish(acknowledge=False)
    first.close()
    again = client(client_id, clean=False, props=LASTING[:1])
    received = [again.receive_publish() for _ in range(3)]
    assert [(each.topic, each.values(mqtt.TOPIC_ALIAS)) for each in received] == [(topic, [])] * 3


def test_a_message_that_was_too_large_has_defined_no_alias(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-24, -25]."""
    topic, names = name(), Names()
    limits: mqtt.Properties = [(mqtt.TOPIC_ALIAS_MAXIMUM, 2), (mqtt.MAXIMUM_PACKET_SIZE, 200)]
    subscriber, publisher = client(name(), props=limits), client(name())
    subscriber.subscribe((topic, 1))
    for payload in (b"1", b"L" * 300, b"2", b"3", b"L" * 300, b"4"):
        publisher.publish(topic, payload, qos=1)
    received = [subscriber.receive_publish() for _ in range(4)]
    assert [(names.of(each), each.payload) for each in received] == [(topic, b"%d" % n) for n in (1, 2, 3, 4)]


def test_an_alias_never_makes_a_message_too_large(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """It just fits without the three bytes that would define an alias."""
    topic = name()
    size = len(mqtt.publish(5, topic, b"x" * 50, qos=1, packet_id=1))
    limits: mqtt.Properties = [(mqtt.TOPIC_ALIAS_MAXIMUM, 2), (mqtt.MAXIMUM_PACKET_SIZE, size)]
    subscriber, publisher = client(name(), props=limits), client(name())
    subscriber.subscribe((topic, 1))
    for _ in range(4):
        publisher.publish(topic, b"x" * 50, qos=1)
    assert [subscriber.receive_publish().topic for _ in range(4)] == [topic] * 4


def test_other_subscribers_are_sent_the_full_name(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    with_aliases, without = client(name(), props=[(mqtt.TOPIC_ALIAS_MAXIMUM, 2)]), client(name())
    for each in (with_aliases, without):
        each.subscribe((topic, 0))
    for _ in range(4):
        without.publish(topic, b"x")
    assert [without.receive_publish().topic for _ in range(4)] == [topic] * 4
    assert [with_aliases.receive_publish().topic for _ in range(4)] == [topic, "", "", ""]
