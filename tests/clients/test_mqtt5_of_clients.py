"""What MQTT 5 adds, with every client that speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign_client import Subscription, Will

from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuttable_network import CuttableNetwork
    from foreign_client import ForeignClient
    from foreign_clients import Kind

PROPERTIES = {
    "payload_format_indicator": 1,
    "content_type": "application/json",
    "response_topic": "answers/here",
    "correlation_data": b"\x00\x01\xff",
    "user_property": [("unit", "°C"), ("unit", "K"), ("site", "")],
}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_arrive_unchanged(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str], qos: int
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.subscribe(topic, qos)
    client.publish(topic, b"{}", qos, **PROPERTIES)
    assert client.next().properties == PROPERTIES


def test_a_retained_message_keeps_its_properties(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.publish(topic, b"{}", 1, is_retain=True, **PROPERTIES)
    client.subscribe(topic, 1)
    assert client.next().properties == PROPERTIES


def test_a_request_is_answered_where_it_asks(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    requests, answers = name(), name()
    asking, answering = connected(kind_of_5), connected(kind_of_5)
    answering.subscribe(requests, 1)
    asking.subscribe(answers, 1)
    asking.publish(requests, b"time?", 1, response_topic=answers, correlation_data=b"7")
    request = answering.next().properties
    answering.publish(request["response_topic"], b"noon", 1, correlation_data=request["correlation_data"])
    answer = asking.next()
    assert (answer.payload, answer.properties["correlation_data"]) == (b"noon", b"7")


def test_what_is_left_of_an_expiry_arrives(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.publish(topic, b"x", 1, is_retain=True, message_expiry_interval=600)
    client.subscribe(topic, 1)
    assert 0 < client.next().properties["message_expiry_interval"] <= 600


def test_expired_messages_are_not_kept(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    """A retained message that expires last tells when time is up: a new subscription does not get it any more."""
    topic, retained, client = name(), name(), connected(kind_of_5)
    absent = connected(kind_of_5, is_lasting=True)
    absent.subscribe(topic, 1)
    absent.disconnect()
    client.publish(topic, b"short", 1, message_expiry_interval=1)
    client.publish(topic, b"long", 1, message_expiry_interval=600)
    client.publish(retained, b"kept", 1, is_retain=True, message_expiry_interval=1)

    def is_expired() -> bool:
        client.subscribe(retained, 1)
        client.publish(retained, b"end", 1)
        return client.payloads_until(b"end") == []

    eventually(is_expired, "the retained message expires")
    back = connected(kind_of_5, client_id=absent.options.client_id, is_lasting=True)
    assert back.next().payload == b"long"


def test_a_topic_alias_stands_for_the_topic(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.subscribe(topic, 1)
    client.publish(topic, b"first", 1, topic_alias=3)
    client.publish("", b"second", 1, topic_alias=3)
    assert [(each.topic_name, each.payload) for each in client.take(2)] == [(topic, b"first"), (topic, b"second")]


def test_subscription_identifiers_tell_what_matched(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.subscribe_with(Subscription(f"{topic}/#", 1, identifier=1))
    client.subscribe_with(Subscription(f"{topic}/a", 1, identifier=268_435_455))
    for rest in ("b", "a"):
        client.publish(f"{topic}/{rest}", b"x", 1)
    client.publish(f"{topic}/end", b"end", 1)
    found: dict[str, list[int]] = {}
    while (message := client.next()).payload != b"end":  # two copies or one: the server may choose [v5 MQTT-3.3.4-4]
        found.setdefault(message.topic_name, []).extend(message.properties["subscription_identifier"])
    assert {topic_name: sorted(each) for topic_name, each in found.items()} == {
        f"{topic}/b": [1],
        f"{topic}/a": [1, 268_435_455],
    }


def test_no_local_keeps_own_messages_away(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, client, other = name(), connected(kind_of_5), connected(kind_of_5)
    client.subscribe_with(Subscription(topic, 1, is_no_local=True))
    client.publish(topic, b"own", 1)
    other.publish(topic, b"other", 1)
    assert client.next().payload == b"other"


@pytest.mark.parametrize("retain_as_published", [False, True])
def test_retain_as_published(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str], retain_as_published: bool
) -> None:
    topic, client = name(), connected(kind_of_5)
    client.subscribe_with(Subscription(topic, 1, retain_as_published=retain_as_published))
    client.publish(topic, b"x", 1, is_retain=True)
    assert client.next().is_retain is retain_as_published


def test_retain_handling(kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]) -> None:
    topic, client = name(), connected(kind_of_5)
    client.publish(topic, b"kept", 1, is_retain=True)

    def subscribed(retain_handling: int) -> list[bytes]:
        client.subscribe_with(Subscription(topic, 1, retain_handling=retain_handling))
        client.publish(topic, b"end", 1)
        return client.payloads_until(b"end")

    assert [subscribed(handling) for handling in (2, 1, 0)] == [[], [], [b"kept"]]
    client.unsubscribe(topic)
    assert subscribed(1) == [b"kept"]


def test_a_will_waits_for_its_delay_unless_the_client_returns(
    kind_of_5: Kind, network: CuttableNetwork, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, watcher = name(), connected(kind_of_5)
    watcher.subscribe(topic, 1)
    properties = {"content_type": "text/plain", "user_property": [("a", "b")]}
    returning, gone = (
        connected(kind_of_5, at=network, is_lasting=True, will=Will(topic, payload, 1, properties=asked))
        for payload, asked in (
            (b"returning", properties | {"will_delay_interval": 4}),
            (b"gone", properties | {"will_delay_interval": 5}),
        )
    )
    network.cut()
    assert returning.ended.wait(10)
    assert gone.ended.wait(10)
    connected(kind_of_5, client_id=returning.options.client_id, is_lasting=True)
    will = watcher.next()
    assert will.payload == b"gone"
    assert will.properties == properties


def test_a_session_ends_with_its_connection_when_no_expiry_is_asked(
    kind_of_5: Kind, make_client: Callable[..., ForeignClient], connected: Callable[..., ForeignClient]
) -> None:
    first = connected(kind_of_5)
    first.subscribe(first.options.client_id, 1)
    first.disconnect()
    assert make_client(kind_of_5, client_id=first.options.client_id, is_lasting=True).connect() is False


def test_a_small_receive_maximum_slows_and_loses_nothing(
    kind_of_5: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, publisher = name(), connected(kind_of_5)
    client = connected(kind_of_5, receive_maximum=2)
    client.subscribe(topic, 2)
    for number in range(60):
        publisher.start_publish(topic, b"%d" % number, 1 + number % 2)
    publisher.publish(topic, b"end", 2)
    assert sorted(map(int, client.payloads_until(b"end"))) == list(range(60))
