"""Every client publishes and receives: each QoS, any payload, retained messages, wildcards, unsubscribing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign_client import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from foreign_client import ForeignClient
    from foreign_clients import Kind

MESSAGES = 60
PAYLOADS = [b"", b"x", bytes(range(256)), b"\xff\x00" * 100_000]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_in_order(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str], qos: int
) -> None:
    """Clients that know nothing of this broker are served [v3.1.1 MQTT-7.0.0-2]."""
    topic, subscriber, publisher = name(), connected(kind), connected(kind)
    subscriber.subscribe(f"{topic}/#", qos)
    for number in range(MESSAGES):
        publisher.start_publish(f"{topic}/{number % 3}", b"%d" % number, qos)
    publisher.await_published()
    received = subscriber.take(MESSAGES)
    assert [(each.topic_name, int(each.payload)) for each in received] == [
        (f"{topic}/{number % 3}", number) for number in range(MESSAGES)
    ]
    assert {each.qos for each in received} == {qos}


@pytest.mark.parametrize(("published", "subscribed"), [(0, 2), (1, 2), (2, 0), (2, 1)])
def test_the_lower_qos_holds(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str], published: int, subscribed: int
) -> None:
    topic, client = name(), connected(kind)
    client.subscribe(topic, subscribed)
    client.publish(topic, b"x", published)
    assert client.next().qos == min(published, subscribed)


@pytest.mark.parametrize("payload", PAYLOADS, ids=["empty", "one byte", "every byte", "200 kB"])
def test_payloads_arrive_as_they_were(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str], payload: bytes
) -> None:
    topic, client = name(), connected(kind)
    client.subscribe(topic, 2)
    for qos in (0, 1, 2):
        client.publish(topic, payload, qos)
    assert [each.payload for each in client.take(3)] == [payload] * 3


def test_a_retained_message_is_kept_replaced_and_cleared(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic, publisher = name(), connected(kind)
    for payload in (b"old", b"kept"):
        publisher.publish(topic, payload, 1, is_retain=True)
    late = connected(kind)
    late.subscribe(topic, 1)
    publisher.publish(topic, b"live", 1, is_retain=True)
    assert [(each.payload, each.is_retain) for each in late.take(2)] == [(b"kept", True), (b"live", False)]
    publisher.publish(topic, b"", 1, is_retain=True)
    later = connected(kind)
    later.subscribe(topic, 1)
    publisher.publish(topic, b"after", 1)
    assert later.next().payload == b"after"


def test_wildcards_match(kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]) -> None:
    topic, client = name(), connected(kind)
    client.subscribe(f"{topic}/+/temperature")
    client.subscribe(f"{topic}/garden/#")
    for rest in (
        "",
        "/temperature",
        "/hall/temperature",
        "/hall/x/temperature",
        "/garden",
        "/garden/a/b",
        "/end/temperature",
    ):
        client.publish(f"{topic}{rest}", rest.encode(), 1)
    assert client.payloads_until(b"/end/temperature") == [b"/hall/temperature", b"/garden", b"/garden/a/b"]


def test_topics_with_any_letters(kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]) -> None:
    topic, client = f"{name()}/Grüße/温度/ 🌡", connected(kind)
    client.subscribe(topic)
    client.publish(topic, b"x")
    assert client.next().topic_name == topic


def test_nothing_comes_after_unsubscribe(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    dropped, kept, client = name(), name(), connected(kind)
    client.subscribe(dropped)
    client.subscribe(kept)
    client.unsubscribe(dropped)
    client.publish(dropped, b"dropped", 1)
    client.publish(kept, b"kept", 1)
    assert client.next().payload == b"kept"


def test_a_topic_filter_that_is_not_allowed_is_refused(kind: Kind, connected: Callable[..., ForeignClient]) -> None:
    client = connected(kind)
    levels = "/".join(["+"] * 65)  # MAX_TOPIC_LEVELS is 64
    assert client.subscribe_with(Subscription(levels)) == {3: 0, 4: 0x80, 5: 0x8F}[kind.version]
