"""Topic names and filters as a subscriber sees them (MQTT 5.0 §4.7), and the topics below $SYS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

MATCHES = [
    ("sport/tennis/player1/#", ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/a/b"]),
    ("sport/#", ["sport", "sport/", "sport/tennis"]),
    ("sport/tennis/+", ["sport/tennis/player1", "sport/tennis/"]),
    ("sport/+", ["sport/", "sport/x"]),
    ("+/+", ["/finance", "a/b", "/"]),
    ("/+", ["/finance", "/"]),
    ("+", ["finance"]),
    ("#", ["a", "/", "a/b/c"]),
    ("+/tennis/#", ["sport/tennis", "/tennis/x"]),
    ("sport/+/player1", ["sport/tennis/player1", "sport//player1"]),
    ("a//b", ["a//b"]),
    ("a/+/+/d", ["a/b/c/d", "a///d"]),
    ("+/b/#", ["a/b", "a/b/c/d"]),
]
MISMATCHES = [
    ("sport/tennis/player1/#", ["sport/tennis/player2", "sport/tennis", "sport/tennis/player10"]),
    ("sport/tennis/+", ["sport/tennis", "sport/tennis/player1/ranking"]),
    ("sport/+", ["sport"]),
    ("+", ["/finance", "finance/"]),
    ("+/+", ["a", "a/b/c"]),
    ("accounts", ["ACCOUNTS", "Accounts", "accounts/", "/accounts"]),
    ("a/b", ["a//b", "a/b/", "a /b"]),
]


def _received(
    client: Callable[..., RawClient], name: Callable[[], str], topic_filter: str, topics: list[str]
) -> list[str]:
    """Return which of `topics` a subscriber to `topic_filter` is sent; everybody else's topics are left out."""
    subscriber, publisher, marker = client(name()), client(name()), name()
    subscriber.subscribe((topic_filter, 1), (marker, 1))
    for topic in topics:
        publisher.publish(topic, marker.encode(), qos=1)
    publisher.publish(marker, qos=1)
    return [each.topic for each in subscriber.receive_up_to(marker) if each.payload == marker.encode()]


@pytest.mark.parametrize(("topic_filter", "topics"), MATCHES, ids=[each[0] for each in MATCHES])
def test_mqtt_4_7_1_filters_match(
    client: Callable[..., RawClient], name: Callable[[], str], topic_filter: str, topics: list[str]
) -> None:
    assert _received(client, name, topic_filter, topics) == topics


@pytest.mark.parametrize(("topic_filter", "topics"), MISMATCHES, ids=[each[0] for each in MISMATCHES])
def test_mqtt_4_7_3_other_topics_do_not_match(
    client: Callable[..., RawClient], name: Callable[[], str], topic_filter: str, topics: list[str]
) -> None:
    assert _received(client, name, topic_filter, topics) == []


@pytest.mark.parametrize("topic_filter", ["#", "+/broker/#", "+/#"])
def test_mqtt_4_7_2_1_leading_wildcards_do_not_match_dollar_topics(
    client: Callable[..., RawClient], name: Callable[[], str], topic_filter: str
) -> None:
    watcher, marker = client(name()), name()
    system = client(name())
    system.subscribe(("$SYS/#", 0))
    watcher.subscribe((topic_filter, 0))
    assert system.receive_publish(deadline_s=20).topic.startswith("$SYS/")  # there are some to be seen
    watcher.subscribe((marker, 0))
    system.publish(marker)
    assert [each.topic for each in watcher.receive_up_to(marker) if each.topic.startswith("$")] == []


@pytest.mark.parametrize("version", [4], ids=["3.1.1"])
def test_the_broker_tells_of_itself(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    reader = client(name())
    reader.subscribe(("$SYS/#", 0))
    seen: dict[str, bytes] = {}

    def has_all() -> bool:
        received = reader.receive_publish(deadline_s=20)
        seen[received.topic] = received.payload
        wanted = ("$SYS/broker/version", "$SYS/broker/uptime", "$SYS/broker/clients/", "$SYS/broker/messages/")
        return all(any(topic.startswith(each) for topic in seen) for each in wanted)

    eventually(has_all, f"version, uptime, clients and messages below $SYS/broker; seen: {seen}", 20)
    assert all(seen.values())


@pytest.mark.parametrize("version", [4], ids=["3.1.1"])
def test_the_broker_tells_how_far_views_lag(
    own_broker: object, client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    reader = client(name())
    reader.subscribe(("$SYS/broker/store/#", 0))
    eventually(lambda: "lag" in reader.receive_publish(deadline_s=20).topic, "a lag below $SYS/broker/store", 20)


@pytest.mark.parametrize("topic", ["$SYS/broker/version", "$SYS/broker/forged"])
def test_clients_cannot_publish_to_sys(
    client: Callable[..., RawClient], name: Callable[[], str], version: int, topic: str
) -> None:
    reader, forger, marker = client(name()), client(name()), name()
    reader.subscribe(("$SYS/broker/#", 1), (marker, 1))
    forger.send(mqtt.publish(version, topic, b"forged", qos=1, packet_id=1, retain=True))
    answers = [forger.receive()] if version == 5 else []
    for answer in answers:
        assert answer.body[-1 if answer.type == mqtt.DISCONNECT else 2] in (0x87, 0x90)
    client(name()).publish(marker, qos=1)
    later = client(name())
    later.subscribe(("$SYS/broker/#", 1), (marker, 1))
    later.publish(marker, qos=1)
    seen = [*reader.receive_up_to(marker), *later.receive_up_to(marker)]
    assert all(each.payload != b"forged" for each in seen)
