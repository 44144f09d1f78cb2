"""What CONNACK and refusals tell an MQTT 5 client (MQTT 5.0 §3.1.2.11.6, §3.1.2.11.7, §3.2.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [5], ids=["5"])
ASKS: mqtt.Properties = [(mqtt.REQUEST_RESPONSE_INFORMATION, 1)]
SERVER_REFERENCE, WILDCARDS_AVAILABLE, IDENTIFIERS_AVAILABLE, AUTHENTICATION_METHOD = 0x1C, 0x28, 0x29, 0x15
TOO_DEEP = "/" * 64
UNKNOWN_ALIAS = mqtt.publish(5, "", b"x", props=[(mqtt.TOPIC_ALIAS, 1)])


def test_response_information_is_where_a_client_takes_responses(
    client: Callable[..., RawClient], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """§4.10: a request, and the response at a topic that is the requester's own."""
    requester, responder, topic = open_client(), client(name()), name()
    prefix = requester.connect(name(), props=ASKS).value(mqtt.RESPONSE_INFORMATION)
    assert isinstance(prefix, str)
    requester.subscribe((prefix + "#", 1))
    responder.subscribe((topic, 1))
    question: mqtt.Properties = [(mqtt.RESPONSE_TOPIC, prefix + "7"), (mqtt.CORRELATION_DATA, b"\x07")]
    requester.publish(topic, b"how warm?", qos=1, props=question)
    asked = responder.receive_publish()
    (where,), (which,) = asked.values(mqtt.RESPONSE_TOPIC), asked.values(mqtt.CORRELATION_DATA)
    responder.publish(str(where), b"21.5", qos=1, props=[(mqtt.CORRELATION_DATA, which)])
    answer = requester.receive_publish()
    assert (answer.topic, answer.payload) == (prefix + "7", b"21.5")
    assert answer.values(mqtt.CORRELATION_DATA) == [b"\x07"]


def test_response_information_is_one_clients_alone(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """Whatever a client id holds: no two have the same prefix, and none covers another's."""
    client_ids = [f"{name()}{odd}" for odd in ("", "/", "/+", "#", "$%2F", "é", " ")]
    clients = {client_id: open_client() for client_id in client_ids}
    prefixes = [
        str(each.connect(client_id, props=ASKS).value(mqtt.RESPONSE_INFORMATION)) for client_id, each in clients.items()
    ]
    assert len(set(prefixes)) == len(client_ids)
    for prefix in prefixes:
        assert prefix.count("/") == 2
        assert not set("+#") & set(prefix)


def test_an_assigned_client_identifier_is_the_one_in_response_information(
    open_client: Callable[..., RawClient],
) -> None:
    answer = open_client().connect("", props=ASKS)
    assert answer.value(mqtt.RESPONSE_INFORMATION) == f"response/{answer.value(mqtt.ASSIGNED_CLIENT_IDENTIFIER)}/"


def test_connack_denies_nothing_that_is_there(open_client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """§3.2.2.3: absent stands for QoS 2, retained messages, wildcards and subscription identifiers."""
    answer = open_client().connect(name())
    assert answer.value(mqtt.MAXIMUM_QOS) is None
    for available in (mqtt.RETAIN_AVAILABLE, WILDCARDS_AVAILABLE, IDENTIFIERS_AVAILABLE):
        assert answer.value(available) in (None, 1)
    assert answer.value(SERVER_REFERENCE) is None


def test_refusals_say_why(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    connection = client(name())
    connection.send(mqtt.subscribe(5, 1, [(TOO_DEEP, 1)]))
    assert "too many levels" in str(mqtt.read_reason_string(connection.receive(mqtt.SUBACK)))


def test_a_packet_that_breaks_a_rule_gets_its_code_alone(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    connection = client(name())
    connection.send(UNKNOWN_ALIAS)
    assert connection.receive_until_closed() == [mqtt.Packet(mqtt.DISCONNECT, 0, b"\x82")]


def test_a_refused_connect_says_why(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(ALLOW_ANONYMOUS="false", MQTT_USERNAME="device", MQTT_PASSWORD="right-password")
    answer = open_client(process).connect(name(), username="device", password="wrong")
    assert answer.code == 0x86
    assert "password" in str(answer.value(mqtt.REASON_STRING))


def test_who_is_taken_over_is_told(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    client_id = name()
    old, _ = client(client_id), client(client_id)
    (last,) = old.receive_until_closed()
    assert mqtt.read_disconnect(last) == 0x8E
    assert "client identifier" in str(mqtt.read_reason_string(last))


@pytest.mark.parametrize("maximum", [5, 10])
def test_v5_mqtt_3_1_2_24_a_client_that_cannot_take_connack_is_rejected(
    open_client: Callable[..., RawClient], client: Callable[..., RawClient], name: Callable[[], str], maximum: int
) -> None:
    """With CONNACK 0x95, and without its will: it was never connected."""
    topic, watcher = name(), client(name())
    watcher.subscribe((topic, 1))
    small = open_client()
    answer = small.connect(name(), will=mqtt.Will(topic, b"will"), props=[(mqtt.MAXIMUM_PACKET_SIZE, maximum)])
    assert (answer.code, list(answer.properties)) == (0x95, [])
    assert small.receive_until_closed() == []
    watcher.publish(topic, b"no will came", qos=1)
    assert watcher.receive_publish().payload == b"no will came"


def test_v5_mqtt_3_1_2_24_a_suback_that_is_too_large_disconnects(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    small, topic = client(name(), props=[(mqtt.MAXIMUM_PACKET_SIZE, 30)]), name()
    small.send(mqtt.subscribe(5, 1, [(f"{topic}/{number}", 1) for number in range(40)]))
    assert [mqtt.read_disconnect(each) for each in small.receive_until_closed()] == [0x95]


def test_what_comes_behind_a_refused_packet_is_still_handled(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """SUBSCRIBE, PUBLISH and DISCONNECT in one segment: each counts."""
    topic, watcher = name(), client(name())
    watcher.subscribe((topic, 1))
    leaving = client(name(), will=mqtt.Will(topic, b"will"))
    leaving.send(
        mqtt.subscribe(5, 1, [(TOO_DEEP, 1)]) + mqtt.publish(5, topic, b"last", qos=1, packet_id=2) + mqtt.disconnect(5)
    )
    leaving.receive_until_closed()
    watcher.publish(topic, b"marker", qos=1)
    assert [watcher.receive_publish().payload for _ in range(2)] == [b"last", b"marker"]


@pytest.mark.parametrize("code", [0x18, 0x19])
def test_auth_without_a_method_in_connect_is_a_protocol_error(
    client: Callable[..., RawClient], name: Callable[[], str], code: int
) -> None:
    """§4.12: also to authenticate again."""
    method = mqtt.properties(5, [(AUTHENTICATION_METHOD, "SCRAM-SHA-256")])
    for auth in (b"", bytes([code]) + method):
        connection = client(name())
        connection.send(mqtt.packet(mqtt.AUTH, 0, auth))
        assert [mqtt.read_disconnect(each) for each in connection.receive_until_closed()] == [0x82]
