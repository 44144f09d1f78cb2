"""Sessions that outlive their connection, with what MQTT 5 lets each connection ask for anew (MQTT 5.0 §4.1, §4.4, §4.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [5], ids=["5"])
LASTING: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]
NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW = 4, 8, 0x10


def test_options_of_subscriptions_hold_in_a_queue_and_over_a_crash(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    """[v5 MQTT-3.3.4-3, -4], [v5 MQTT-3.3.1-12, -13], [v5 MQTT-3.8.3-3]."""
    process = start_broker()
    first = client("lasting", at=process, props=LASTING)
    first.subscribe(("t/#", 1 | NO_LOCAL | RETAIN_AS_PUBLISHED), props=[(mqtt.SUBSCRIPTION_IDENTIFIER, 7)])
    first.subscribe(("t/+", 1 | NO_LOCAL), props=[(mqtt.SUBSCRIPTION_IDENTIFIER, 300)])
    first.subscribe(("u/#", 1))
    first.publish("t/a", b"my own", qos=1)
    first.close()
    publisher = client("publisher", at=process)
    publisher.publish("t/a", b"before", qos=1, retain=True)
    process.restart()
    publisher = client("publisher", at=process)
    publisher.publish("t/a", b"after", qos=1)
    publisher.publish("u/a", b"not as published", qos=1, retain=True)
    back = client("lasting", at=process, clean=False, props=LASTING)
    received = [back.receive_publish() for _ in range(3)]
    assert [(each.payload, each.retain) for each in received] == [
        (b"before", True), (b"after", False), (b"not as published", False),
    ]  # fmt: skip
    assert [sorted(each.values(mqtt.SUBSCRIPTION_IDENTIFIER), key=str) for each in received] == [[300, 7], [300, 7], []]


def test_mqtt_3_3_2_6_the_time_away_is_taken_off_the_expiry_interval_over_a_crash(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    """[v5 MQTT-3.3.2-5, -6]."""
    process = start_broker()
    first = client("lasting", at=process, props=LASTING)
    first.subscribe(("t", 1))
    first.close()
    publisher = client("publisher", at=process)
    for payload, expiry in ((b"short", 1), (b"long", 300)):
        publisher.publish("t", payload, qos=1, props=[(mqtt.MESSAGE_EXPIRY_INTERVAL, expiry)])
    publisher.expect_nothing(2.1)
    process.restart()
    received = client("lasting", at=process, clean=False, props=LASTING).receive_publish()
    (left,) = received.values(mqtt.MESSAGE_EXPIRY_INTERVAL)
    assert isinstance(left, int)
    assert (received.payload, 200 < left <= 298) == (b"long", True)


@pytest.mark.parametrize("qos", [1, 2])
def test_v5_mqtt_3_3_4_9_what_comes_again_keeps_to_the_new_receive_maximum(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int
) -> None:
    client_id, topic = name(), name()
    first, publisher = client(client_id, props=LASTING), client(name())
    first.subscribe((topic, qos))
    for number in range(6):
        publisher.publish(topic, b"%d" % number, qos=qos)
    sent = [first.receive_publish(acknowledge=False) for _ in range(6)]
    first.close()
    back = client(client_id, clean=False, props=[*LASTING, (mqtt.RECEIVE_MAXIMUM, 2)])
    window = [back.receive_publish(acknowledge=False) for _ in range(2)]
    back.expect_nothing(0.3)
    for each in window:
        back.acknowledge(each)
    again = [*window, *(back.receive_publish() for _ in range(4))]
    assert [(each.payload, each.packet_id, each.dup) for each in again] == [
        (each.payload, each.packet_id, True) for each in sent
    ]


@pytest.mark.parametrize("properties", [LASTING, []], ids=["lasting", "of the connection"])
def test_v5_mqtt_4_9_0_2_a_qos_2_message_counts_until_pubcomp(
    client: Callable[..., RawClient], name: Callable[[], str], properties: mqtt.Properties
) -> None:
    topic = name()
    subscriber, publisher = client(name(), props=[*properties, (mqtt.RECEIVE_MAXIMUM, 1)]), client(name())
    subscriber.subscribe((topic, 2))
    for payload in (b"1", b"2"):
        publisher.publish(topic, payload, qos=2)
    first = subscriber.receive_publish(acknowledge=False)
    subscriber.send(mqtt.acknowledgement(mqtt.PUBREC, first.packet_id))
    subscriber.receive(mqtt.PUBREL)
    subscriber.expect_nothing(0.3)
    subscriber.send(mqtt.acknowledgement(mqtt.PUBCOMP, first.packet_id))
    assert subscriber.receive_publish().payload == b"2"


def test_v5_mqtt_3_1_2_24_what_comes_again_keeps_to_the_new_maximum_packet_size(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-24, -25]: and what is too large counts as sent."""
    client_id, topic = name(), name()
    first, publisher = client(client_id, props=LASTING), client(name())
    first.subscribe((topic, 1))
    for payload in (b"L" * 300, b"small"):
        publisher.publish(topic, payload, qos=1)
        first.receive_publish(acknowledge=False)
    first.close()
    small = client(client_id, clean=False, props=[*LASTING, (mqtt.MAXIMUM_PACKET_SIZE, 200)])
    assert small.receive_publish().payload == b"small"
    small.ping()
    small.disconnect()
    large = client(client_id, clean=False, props=LASTING)
    large.publish(topic, b"next", qos=1)
    assert large.receive_publish().payload == b"next"


def test_v5_mqtt_3_3_1_10_a_subscription_of_the_session_is_not_new_after_a_reconnect(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """Retain Handling 1, also after a clean start."""
    client_id, topic = name(), name()
    client(name()).publish(topic, b"kept", qos=1, retain=True)
    seen = []
    for clean in (True, False, True):
        connection = client(client_id, clean=clean, props=LASTING)
        connection.subscribe((topic, 1 | RETAIN_IF_NEW))
        seen.append([each.payload for each in connection.receive_until_quiet()])
        connection.disconnect()
    assert seen == [[b"kept"], [], [b"kept"]]


def test_a_reconnect_may_change_the_expiry(
    client: Callable[..., RawClient], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """§3.1.2.11.2: the interval is the connection's; with 0 the session ends with it."""
    client_id = name()
    client(client_id, props=LASTING).disconnect()
    last = open_client()
    assert last.connect(client_id, clean=False).is_session_present
    last.disconnect()
    assert not open_client().connect(client_id, clean=False).is_session_present


def delayed(topic: str) -> mqtt.Will:
    return mqtt.Will(topic, b"will", qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, 300)])


def test_a_clean_start_ends_the_session_and_its_delayed_will_is_published(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-8]: at the end of the session, if that comes before the delay has passed."""
    client_id, topic, watcher = name(), name(), client(name())
    watcher.subscribe((topic, 1))
    client(client_id, will=delayed(topic), props=LASTING).close()
    client(client_id, clean=True, props=LASTING)
    assert watcher.receive_publish().payload == b"will"


def test_v5_mqtt_3_1_3_9_a_takeover_within_the_delay_keeps_the_will(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    client_id, topic, watcher = name(), name(), client(name())
    watcher.subscribe((topic, 1))
    old = client(client_id, will=delayed(topic), props=LASTING)
    new = client(client_id, clean=False, props=LASTING)
    old.receive_until_closed()
    new.publish(topic, b"taken over", qos=1)
    assert watcher.receive_publish().payload == b"taken over"


def test_disconnect_with_will_message_waits_for_the_session_too(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """§3.14.2.1: reason code 0x04; the delay ends with the session, whose interval DISCONNECT has shortened."""
    topic, watcher = name(), client(name())
    watcher.subscribe((topic, 1))
    client(name(), will=delayed(topic), props=LASTING).disconnect(0x04, [(mqtt.SESSION_EXPIRY_INTERVAL, 1)])
    watcher.expect_nothing(0.5)
    assert watcher.receive_publish().payload == b"will"


def test_user_properties_keep_their_order_wherever_a_message_waits(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.3.2-17, -18]: in a queue and as a retained message."""
    client_id, topic = name(), name()
    properties = [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("a", "2")]
    client(client_id, props=LASTING).subscribe((topic, 1))
    publisher = client(name())
    publisher.publish(topic, b"x", qos=1, retain=True, props=[(mqtt.USER_PROPERTY, each) for each in properties])
    queued = client(client_id, clean=False, props=LASTING).receive_publish()
    retained = client(name())
    retained.subscribe((topic, 1))
    for each in (queued, retained.receive_publish()):
        assert each.values(mqtt.USER_PROPERTY) == properties
