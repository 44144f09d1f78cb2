"""Sessions: takeover, session present, messages kept while a client is away (MQTT 5.0 §3.1.2.4, §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
LASTING: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]


def lasting(version: int) -> dict[str, Any]:
    """Arguments of `connect` for a session that outlives its connection."""
    return {"clean": False, "props": LASTING if version == 5 else []}


def test_mqtt_3_1_4_2_a_second_connection_takes_over(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.1.4-2], [v5 MQTT-3.1.4-3]."""
    client_id = name()
    old = client(client_id)
    new = client(client_id)
    packets = old.receive_until_closed()
    assert [mqtt.read_disconnect(each) for each in packets] == ([0x8E] if version == 5 else [])
    new.ping()


def test_a_taken_over_session_goes_on(
    open_client: Callable[..., RawClient], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    client_id, topic = name(), name()
    client(client_id, **lasting(version)).subscribe((topic, 1))
    new = open_client()
    answer = new.connect(client_id, **lasting(version))
    assert answer.is_session_present == (version > 3)  # MQTT 3.1 has no such flag
    new.publish(topic, b"after", qos=1)
    assert new.receive_publish().payload == b"after"


def test_mqtt_3_1_2_6_a_clean_session_is_gone_with_its_connection(
    open_client: Callable[..., RawClient], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.1.2-6], [v5 MQTT-3.1.2-4]."""
    client_id, topic = name(), name()
    first = client(client_id)
    first.subscribe(topic)
    first.disconnect()
    again = open_client()
    assert not again.connect(client_id, clean=False).is_session_present
    again.publish(topic, b"nobody", qos=1)
    again.subscribe("marker" + topic)
    again.publish("marker" + topic, qos=1)
    assert again.receive_up_to("marker" + topic) == []


@from_3_1_1
def test_mqtt_3_2_2_2_session_present_tells_of_a_stored_session(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.2.2-2], [v5 MQTT-3.2.2-3]."""
    client_id = name()
    seen = []
    for clean in (False, False, True, False):
        connection = open_client()
        seen.append(
            connection.connect(client_id, clean=clean, props=LASTING if version == 5 else []).is_session_present
        )
        connection.disconnect()
    # After a clean start: a 3.1.1 session ends with that connection, an MQTT 5 session lasts as long as it asked.
    assert seen == [False, True, False, version == 5]


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_3_1_2_5_messages_wait_for_a_session_in_order(
    client: Callable[..., RawClient], name: Callable[[], str], version: int, qos: int
) -> None:
    client_id, topic = name(), name()
    away = client(client_id, **lasting(version))
    away.subscribe((topic + "/#", 2))
    away.close()
    publisher = client(name())
    expected = [b"%d" % number for number in range(50)]
    for payload in expected:
        publisher.publish(f"{topic}/a", payload, qos=qos)
    back = client(client_id, **lasting(version))
    publisher.publish(f"{topic}/a", b"live", qos=qos)
    received = [back.receive_publish() for _ in range(51)]
    assert [each.payload for each in received] == [*expected, b"live"]
    assert {each.qos for each in received} == {qos}


def test_unacknowledged_messages_come_again(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-4.4.0-1], [v5 MQTT-4.4.0-1]: with DUP and the original packet identifiers."""
    client_id, topic = name(), name()
    first = client(client_id, **lasting(version))
    first.subscribe((topic, 2))
    publisher = client(name())
    for qos in (1, 2):
        publisher.publish(topic, b"%d" % qos, qos=qos)
    sent = [first.receive_publish(acknowledge=False) for _ in range(2)]
    first.close()
    back = client(client_id, **lasting(version))
    again = [back.receive_publish() for _ in range(2)]
    assert [(each.payload, each.packet_id) for each in again] == [(each.payload, each.packet_id) for each in sent]
    assert all(each.dup for each in again)


def test_an_unfinished_pubrel_comes_again(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v5 MQTT-4.4.0-1]: after PUBREC it is PUBREL that is sent again, never PUBLISH [v5 MQTT-4.3.3-6]."""
    client_id, topic = name(), name()
    first = client(client_id, **lasting(version))
    first.subscribe((topic, 2))
    client(name()).publish(topic, b"once", qos=2)
    packet_id = first.receive_publish(acknowledge=False).packet_id
    first.send(mqtt.acknowledgement(mqtt.PUBREC, packet_id))
    first.receive(mqtt.PUBREL)
    first.close()
    back = client(client_id, **lasting(version))
    again = back.receive(mqtt.PUBREL, mqtt.PUBLISH)
    assert again.type == mqtt.PUBREL
    assert mqtt.read_acknowledgement(version, again).packet_id == packet_id
    back.send(mqtt.acknowledgement(mqtt.PUBCOMP, packet_id))
    back.publish(topic, b"next", qos=1)
    assert back.receive_publish().payload == b"next"


def test_acknowledged_messages_do_not_come_again(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    client_id, topic = name(), name()
    first = client(client_id, **lasting(version))
    first.subscribe((topic, 2))
    publisher = client(name())
    for qos in (1, 2):
        publisher.publish(topic, b"old", qos=qos)
        assert first.receive_publish().payload == b"old"
    first.ping()  # the last acknowledgement has arrived
    first.close()
    back = client(client_id, **lasting(version))
    publisher.publish(topic, b"new", qos=1)
    assert back.receive_publish().payload == b"new"


def test_the_queue_of_a_session_is_bounded(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker(QUEUE_MESSAGES="10")
    client_id, topic = name(), name()
    away = client(client_id, at=process, **lasting(version))
    away.subscribe((topic, 1), ("marker", 1))
    away.close()
    publisher = client(name(), at=process)
    for number in range(30):
        publisher.publish(topic, b"%d" % number, qos=1)
    back = client(client_id, at=process, **lasting(version))
    kept = [int(back.receive_publish().payload) for _ in range(10)]
    publisher.publish("marker", qos=1)
    assert back.receive_up_to("marker") == []
    assert kept in (list(range(10)), list(range(20, 30)))  # the oldest or the newest; never a mixture


def test_the_subscriptions_of_a_session_are_bounded(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    process = start_broker(MAX_SUBSCRIPTIONS="3")
    greedy = client(name(), at=process)
    assert greedy.subscribe(("a", 0), ("b", 0), ("c", 0)) == (0, 0, 0)
    assert greedy.subscribe(("d", 0)) == ({3: 0, 4: 0x80, 5: 0x97}[version],)  # 3.1 has no refusal
    greedy.publish("d", b"refused", qos=1)
    greedy.publish("a", b"granted", qos=1)
    assert greedy.receive_publish().payload == b"granted"
    assert greedy.subscribe(("a", 1)) == (1,)  # replacing one adds none


@only_5
def test_v5_mqtt_3_1_2_23_a_session_ends_when_it_expires(
    client: Callable[..., RawClient], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    client_id, topic = name(), name()
    watcher = client(name())
    watcher.subscribe(topic)
    # The will's delay is longer than the session: it is published when the session ends [v5 MQTT-3.1.3-9].
    will = mqtt.Will(topic, b"session ended", properties=[(mqtt.WILL_DELAY_INTERVAL, 600)])
    client(client_id, will=will, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 1)]).close()
    assert watcher.receive_publish().payload == b"session ended"
    assert not open_client().connect(client_id, clean=False).is_session_present


@only_5
def test_v5_disconnect_may_change_the_expiry(
    client: Callable[..., RawClient], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    client_id = name()
    first = client(client_id, props=LASTING)
    first.disconnect(props=[(mqtt.SESSION_EXPIRY_INTERVAL, 0)])
    assert not open_client().connect(client_id, clean=False).is_session_present


@only_5
def test_v5_disconnect_may_not_revive_an_expiry_of_zero(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    first = client(name())
    first.send(mqtt.disconnect(5, 0, [(mqtt.SESSION_EXPIRY_INTERVAL, 10)]))
    assert [mqtt.read_disconnect(each) for each in first.receive_until_closed()] == [0x82]
