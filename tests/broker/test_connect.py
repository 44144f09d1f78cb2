"""CONNECT and CONNACK (MQTT 3.1.1 and 5.0, §3.1 and §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
only_4 = pytest.mark.parametrize("version", [4], ids=["3.1.1"])


def test_connect_is_answered_with_an_accepting_connack(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    answer = open_client().connect(name())
    assert (answer.code, answer.is_session_present) == (0, False)


@pytest.mark.parametrize(
    "first", [mqtt.PING, mqtt.publish(4, "a", b"x"), mqtt.subscribe(4, 1, [("#", 0)]), mqtt.disconnect(4)]
)
def test_mqtt_3_1_0_1_first_packet_is_not_connect(open_client: Callable[..., RawClient], first: bytes) -> None:
    connection = open_client()
    connection.send(first)
    packets = connection.receive_until_closed()
    assert all(packet.type == mqtt.DISCONNECT for packet in packets)


def test_mqtt_3_1_0_2_second_connect_closes(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    connection = open_client()
    client_id = name()
    connection.connect(client_id)
    connection.send(mqtt.connect(version, client_id))
    packets = connection.receive_until_closed()
    if version == 5:
        assert [(each.type, mqtt.read_disconnect(each)) for each in packets] == [(mqtt.DISCONNECT, 0x82)]
    else:
        assert packets == []


@pytest.mark.parametrize("version", [3], ids=["3.1"])
@pytest.mark.parametrize("clean", [True, False])
def test_mqtt_3_1_refuses_an_empty_client_id(open_client: Callable[..., RawClient], clean: bool) -> None:
    connection = open_client()
    assert connection.connect("", clean=clean).code == 0x02
    assert connection.receive_until_closed() == []


@only_4
def test_mqtt_3_1_3_6_an_empty_client_id_is_unique(open_client: Callable[..., RawClient]) -> None:
    first, second = open_client(), open_client()
    assert first.connect("").code == second.connect("").code == 0
    first.ping()  # the second did not take it over
    second.ping()


@only_4
def test_mqtt_3_1_3_8_an_empty_client_id_needs_a_clean_session(open_client: Callable[..., RawClient]) -> None:
    connection = open_client()
    assert connection.connect("", clean=False).code == 0x02
    assert connection.receive_until_closed() == []


@only_5
@pytest.mark.parametrize("clean", [True, False])
def test_v5_mqtt_3_2_2_16_an_empty_client_id_is_assigned_a_new_one(
    open_client: Callable[..., RawClient], clean: bool
) -> None:
    assigned = set()
    for _ in range(3):
        answer = open_client().connect("", clean=clean)
        assert answer.code == 0
        assigned.add(answer.value(mqtt.ASSIGNED_CLIENT_IDENTIFIER))
    assert len(assigned) == 3
    assert None not in assigned


@only_5
def test_v5_an_assigned_client_identifier_can_come_back(open_client: Callable[..., RawClient]) -> None:
    expiry: mqtt.Properties = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]
    first = open_client()
    assigned = first.connect("", props=expiry).value(mqtt.ASSIGNED_CLIENT_IDENTIFIER)
    first.disconnect()
    answer = open_client().connect(str(assigned), clean=False)
    assert answer.is_session_present
    assert answer.value(mqtt.ASSIGNED_CLIENT_IDENTIFIER) is None


@only_4
@pytest.mark.parametrize(
    ("protocol_name", "level", "expected"),
    [
        ("MQTT", 2, b"\x00\x84\x00"),
        ("MQTT", 3, b"\x00\x01"),
        ("MQIsdp", 4, b"\x00\x01"),
        ("MQTT", 0x84, b"\x00\x01"),  # a bridge of 3.1.1, which tries again without bit 7
        ("MQTT", 0x85, b"\x00\x84\x00"),
        ("MQTT", 6, b"\x00\x84\x00"),
        ("MQTT", 100, b"\x00\x84\x00"),
    ],
)
def test_mqtt_3_1_2_2_an_unknown_protocol_level_is_told_in_a_form_that_its_sender_reads(
    open_client: Callable[..., RawClient], protocol_name: str, level: int, expected: bytes
) -> None:
    connection = open_client()
    body = mqtt.text(protocol_name) + bytes((level, 2, 0, 60)) + mqtt.text("x")
    connection.send(mqtt.packet(mqtt.CONNECT, 0, body))
    assert connection.receive_until_closed() == [mqtt.Packet(mqtt.CONNACK, 0, expected)]


@only_4
@pytest.mark.parametrize("protocol_name", ["MQTX", "mqtt", "", "HTTP/1.1"])
def test_mqtt_3_1_2_1_a_wrong_protocol_name_closes(open_client: Callable[..., RawClient], protocol_name: str) -> None:
    connection = open_client()
    body = mqtt.text(protocol_name) + b"\x04\x02\x00\x3c" + mqtt.text("x")
    connection.send(mqtt.packet(mqtt.CONNECT, 0, body))
    assert connection.receive_until_closed() == []


@from_3_1_1
def test_mqtt_3_1_2_3_the_reserved_connect_flag_is_zero(open_client: Callable[..., RawClient], version: int) -> None:
    connection = open_client()
    connect = bytearray(mqtt.connect(version, "reserved"))
    connect[2 + 6 + 1] |= 1  # fixed header, protocol name, level, and then the flags
    connection.send(bytes(connect))
    for packet in connection.receive_until_closed():
        assert mqtt.read_connack(version, packet).code in (0x81, 0x82)


CREDENTIALS = {"ALLOW_ANONYMOUS": "false", "MQTT_USERNAME": "device", "MQTT_PASSWORD": "right-password"}
REFUSALS = {3: {0x04, 0x05}, 4: {0x04, 0x05}, 5: {0x86, 0x87}}


@pytest.mark.parametrize(
    ("username", "password"),
    [("device", "wrong"), ("other", "right-password"), (None, None), ("device", None), ("device", ""), ("", "")],
)
def test_wrong_credentials_are_refused(
    start_broker: Callable[..., BrokerProcess],
    open_client: Callable[..., RawClient],
    name: Callable[[], str],
    version: int,
    username: str | None,
    password: str | None,
) -> None:
    process = start_broker(**CREDENTIALS)
    connection = open_client(process)
    answer = connection.connect(name(), username=username, password=password)
    assert answer.code in REFUSALS[version]
    assert not answer.is_session_present
    assert connection.receive_until_closed() == []
    assert "right-password" not in process.log


def test_right_credentials_are_accepted(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(**CREDENTIALS)
    assert open_client(process).connect(name(), username="device", password="right-password").code == 0


def test_a_refused_connect_leaves_the_session_alone(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(**CREDENTIALS)
    client_id = name()
    victim = open_client(process)
    victim.connect(client_id, username="device", password="right-password")
    victim.subscribe("victim/#")
    assert open_client(process).connect(client_id, username="device", password="wrong").code != 0
    victim.publish("victim/1", b"still here", qos=1)
    assert victim.receive_publish().payload == b"still here"


def test_packets_sent_before_the_connack_are_handled_after_it(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """MQTT 5.0 §3.1.4, MQTT 3.1.1 §3.1.4: clients may send on without waiting."""
    connection, topic = open_client(), name()
    connection.send(
        mqtt.connect(version, name())
        + mqtt.subscribe(version, 1, [(topic, 1)])
        + mqtt.publish(version, topic, b"early", qos=1, packet_id=2)
    )
    assert connection.receive().type == mqtt.CONNACK
    assert connection.receive(mqtt.SUBACK).type == mqtt.SUBACK
    assert connection.receive_publish().payload == b"early"
    assert connection.receive(mqtt.PUBACK).type == mqtt.PUBACK


@only_5
def test_v5_the_servers_limits_are_announced(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(
        RECEIVE_MAXIMUM="17", MAX_PACKET_BYTES="4096", MAX_KEEP_ALIVE_S="30", MAX_SESSION_EXPIRY_S="100"
    )
    answer = open_client(process).connect(name(), keep_alive_s=600, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 1000)])
    assert answer.value(mqtt.RECEIVE_MAXIMUM) == 17
    assert answer.value(mqtt.MAXIMUM_PACKET_SIZE) == 4096
    assert answer.value(mqtt.SERVER_KEEP_ALIVE) == 30
    assert answer.value(mqtt.SESSION_EXPIRY_INTERVAL) == 100
    assert answer.value(mqtt.MAXIMUM_QOS) is None  # absent: QoS 2 is supported
    assert answer.value(mqtt.RETAIN_AVAILABLE) in (None, 1)


@only_5
def test_v5_a_keep_alive_is_given_to_clients_that_ask_for_none(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(MAX_KEEP_ALIVE_S="30")
    assert open_client(process).connect(name(), keep_alive_s=0).value(mqtt.SERVER_KEEP_ALIVE) == 30


@only_5
def test_v5_mqtt_4_12_0_1_an_unknown_authentication_method_is_refused(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    connection = open_client()
    assert connection.connect(name(), props=[(0x15, "NO-SUCH-METHOD")]).code == 0x8C
    assert connection.receive_until_closed() == []


@only_5
def test_v5_a_receive_maximum_of_zero_is_a_protocol_error(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    connection = open_client()
    connection.send(mqtt.connect(5, name(), props=[(mqtt.RECEIVE_MAXIMUM, 0)]))
    for packet in connection.receive_until_closed():
        assert packet.type in (mqtt.CONNACK, mqtt.DISCONNECT)
        assert packet.body[-2 if packet.type == mqtt.CONNACK else 0] == 0x82


def test_too_long_a_client_id_is_refused(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient], version: int
) -> None:
    process = start_broker(MAX_CLIENT_ID_BYTES="23")
    assert open_client(process).connect("c" * 23).code == 0
    connection = open_client(process)
    assert connection.connect("c" * 24).code == (0x85 if version == 5 else 0x02)
    assert connection.receive_until_closed() == []


def test_connections_beyond_the_maximum_are_refused(
    start_broker: Callable[..., BrokerProcess],
    client: Callable[..., RawClient],
    open_client: Callable[..., RawClient],
    name: Callable[[], str],
    version: int,
) -> None:
    process = start_broker(MAX_CONNECTIONS="2")
    first, second = client(name(), at=process), client(name(), at=process)
    refused = open_client(process)
    refused.send(mqtt.connect(version, name()))
    for packet in refused.receive_until_closed():
        assert packet.type == mqtt.CONNACK
        assert mqtt.read_connack(version, packet).code in (0x03, 0x89, 0x97)
    first.ping()
    second.ping()
