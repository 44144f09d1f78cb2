"""Will messages (MQTT 5.0 §3.1.2.5 and §3.1.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from stored_messages import await_stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_3_1_2_8_a_will_is_published_when_the_connection_is_lost(
    client: Callable[..., RawClient], name: Callable[[], str], qos: int
) -> None:
    topic = name()
    watcher = client(name())
    watcher.subscribe((topic, 2))
    client(name(), will=mqtt.Will(topic, b"gone", qos=qos)).close()
    received = watcher.receive_publish()
    assert (received.topic, received.payload, received.qos, received.retain) == (topic, b"gone", qos, False)


def test_mqtt_3_1_2_10_no_will_after_disconnect(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v3.1.1 MQTT-3.14.4-3], [v5 MQTT-3.14.4-3]."""
    topic = name()
    watcher = client(name())
    watcher.subscribe((topic, 2), ("marker" + topic, 2))
    client(name(), will=mqtt.Will(topic, b"gone", qos=2)).disconnect()
    watcher.publish("marker" + topic, qos=2)
    assert watcher.receive_up_to("marker" + topic) == []


@only_5
@pytest.mark.parametrize("reason_code", [0x04, 0x80, 0x82, 0x97])
def test_v5_a_disconnect_that_is_not_normal_keeps_the_will(
    client: Callable[..., RawClient], name: Callable[[], str], reason_code: int
) -> None:
    """MQTT 5.0 §3.1.2.5, [v5 MQTT-3.1.2-8]: 0x04 asks for the will, others tell of an error."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    client(name(), will=mqtt.Will(topic, b"kept", qos=1)).disconnect(reason_code)
    assert watcher.receive_publish().payload == b"kept"


def test_mqtt_3_1_2_17_a_will_can_be_retained(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v3.1.1 MQTT-3.1.2-17], [v5 MQTT-3.1.2-15]."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    client(name(), will=mqtt.Will(topic, b"gone", qos=1, retain=True)).close()
    assert not watcher.receive_publish().retain
    later = client(name())
    later.subscribe(topic)
    received = later.receive_publish()
    assert (received.payload, received.retain) == (b"gone", True)


def test_a_will_is_published_on_a_protocol_error(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    wrong = client(name(), will=mqtt.Will(topic, b"gone", qos=1))
    wrong.send(mqtt.connect(version, "again"))
    assert watcher.receive_publish().payload == b"gone"


def test_a_will_is_published_on_takeover(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v3.1.1 MQTT-3.1.2-8]; MQTT 5.0 §3.1.4: as the connection is closed without DISCONNECT 0x00."""
    client_id, topic = name(), name()
    watcher = client(name())
    watcher.subscribe(topic)
    client(client_id, will=mqtt.Will(topic, b"of the old", qos=1))
    new = client(client_id, will=mqtt.Will(topic, b"of the new", qos=1))
    assert watcher.receive_publish().payload == b"of the old"
    new.close()
    assert watcher.receive_publish().payload == b"of the new"


def test_a_will_is_stored(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker()
    client(name(), at=process, will=mqtt.Will("devices/7/status", b"gone", qos=1)).close()
    await_stored(process.store_url, {b"gone"})


@only_5
def test_v5_mqtt_3_1_3_9_a_delayed_will_is_cancelled_by_a_reconnect(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    client_id, topic = name(), name()
    lasting: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]
    watcher = client(name())
    watcher.subscribe((topic, 1), ("marker" + topic, 1))
    will = mqtt.Will(topic, b"gone", qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, 3)])
    client(client_id, clean=False, will=will, props=lasting).close()
    back = client(client_id, clean=False, props=lasting)
    watcher.expect_nothing(3.5)
    back.publish("marker" + topic, qos=1)
    assert watcher.receive_up_to("marker" + topic) == []


@only_5
def test_v5_mqtt_3_1_2_8_a_will_waits_for_its_delay(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    topic = name()
    watcher = client(name())
    watcher.subscribe((topic, 1))
    will = mqtt.Will(topic, b"gone", qos=1, properties=[(mqtt.WILL_DELAY_INTERVAL, 2)])
    client(name(), will=will, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 300)]).close()
    watcher.expect_nothing(0.7)
    assert watcher.receive_publish().payload == b"gone"


@only_5
def test_v5_a_will_carries_its_properties(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """MQTT 5.0 §3.1.3.2; [v5 MQTT-3.1.3-10]: user properties in their order."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    properties: mqtt.Properties = [
        (mqtt.CONTENT_TYPE, "text/plain"),
        (mqtt.USER_PROPERTY, ("b", "2")),
        (mqtt.USER_PROPERTY, ("a", "1")),
    ]
    client(name(), will=mqtt.Will(topic, b"gone", properties=properties)).close()
    received = watcher.receive_publish()
    assert received.values(mqtt.CONTENT_TYPE) == ["text/plain"]
    assert received.values(mqtt.USER_PROPERTY) == [("b", "2"), ("a", "1")]
