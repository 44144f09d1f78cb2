"""Statements on CONNECT, CONNACK, DISCONNECT and sessions that no other test shows (§3.1, §3.2, §3.14, §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw import RawClient

only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
AUTHENTICATION_METHOD, REQUEST_PROBLEM_INFORMATION = 0x15, 0x17
REQUEST_RESPONSE_INFORMATION, RESPONSE_INFORMATION = 0x19, 0x1A


def lasting(version: int, interval_s: int = 300) -> dict[str, Any]:
    """Arguments of `connect` for a session that outlives its connection."""
    return {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, interval_s)] if version == 5 else []}


@from_3_1_1
@pytest.mark.parametrize("flags", [0x03, 0x1E, 0x0A, 0x22, 0x82], ids=["bit 0", "QoS 3", "QoS", "retain", "user name"])
def test_mqtt_3_1_4_1_a_connect_that_breaks_a_rule_closes(
    open_client: Callable[..., RawClient], version: int, flags: int
) -> None:
    """[v3.1.1 MQTT-3.1.4-1]: without CONNACK; [v5 MQTT-3.1.4-1]: perhaps with one, never with DISCONNECT [v5 MQTT-3.14.0-1]."""
    connection = open_client()
    header = mqtt.text("MQTT") + bytes([version, flags, 0, 60]) + mqtt.properties(version)
    connection.send(mqtt.packet(mqtt.CONNECT, 0, header + mqtt.text("c")))
    answers = connection.receive_until_closed()
    assert answers == [] if version == 4 else all(each.type == mqtt.CONNACK for each in answers)


@from_3_1_1
def test_mqtt_3_1_4_5_nothing_is_processed_after_a_rejected_connect(
    open_client: Callable[..., RawClient], client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.1.4-5], [v5 MQTT-3.1.4-6]."""
    watcher, topic = client(name()), name()
    watcher.subscribe(topic)
    rejected = open_client()
    rejected.send(mqtt.connect(version, "c" * 60_000) + mqtt.publish(version, topic, b"x", qos=1, packet_id=1))
    (answer,) = rejected.receive_until_closed()
    assert mqtt.read_connack(version, answer).code == (0x85 if version == 5 else 0x02)
    watcher.publish(topic, b"marker", qos=1)
    assert watcher.receive_publish().payload == b"marker"


@from_3_1_1
def test_mqtt_3_2_0_1_connack_comes_first_and_once(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.2.0-1], [v5 MQTT-3.2.0-1, -2]: though a message waits for the session."""
    client_id, topic = name(), name()
    away, publisher = open_client(), open_client()
    away.connect(client_id, **lasting(version))
    away.subscribe((topic, 1))
    away.disconnect()
    publisher.connect(name())
    publisher.publish(topic, b"waits", qos=1)
    back = open_client()
    back.send(mqtt.connect(version, client_id, **lasting(version)) + mqtt.PING)
    seen = [back.receive().type for _ in range(3)]
    assert seen[0] == mqtt.CONNACK
    assert sorted(seen[1:]) == [mqtt.PUBLISH, mqtt.PINGRESP]


@from_3_1_1
def test_mqtt_3_2_2_1_flags_of_connack(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.2.2-1, -2, -3], [v5 MQTT-3.2.2-1, -2, -3]; the seven other bits are 0."""
    client_id = name()
    flags = []
    for clean in (False, False, True):
        connection = open_client()
        arguments = lasting(version) | {"clean": clean}
        connection.send(mqtt.connect(version, client_id, **arguments))
        flags.append(connection.receive(mqtt.CONNACK).body[0])
        connection.disconnect()
    assert flags == [0, 1, 0]


@only_5
def test_v5_mqtt_3_1_2_28_nothing_unrequested_in_connack(
    open_client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v5 MQTT-3.1.2-28], [v5 MQTT-4.12.0-6]."""
    for props in ([], [(REQUEST_RESPONSE_INFORMATION, 0)]):
        answer = open_client().connect(name(), props=props)
        assert answer.value(RESPONSE_INFORMATION) is None
        assert answer.value(AUTHENTICATION_METHOD) is None


CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@from_3_1_1
@pytest.mark.parametrize("client_id", ["Z", CHARACTERS[:23], CHARACTERS[20:43], CHARACTERS[39:]])
def test_mqtt_3_1_3_5_client_ids_that_every_server_allows(
    open_client: Callable[..., RawClient], client_id: str
) -> None:
    assert open_client().connect(client_id).code == 0


@from_3_1_1
def test_mqtt_3_1_3_2_the_client_id_identifies_the_session(
    open_client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    client_id = name() + "a"
    first = open_client()
    first.connect(client_id, **lasting(version))
    for other in (client_id.upper(), client_id[:-1], client_id + "a"):
        assert not open_client().connect(other, **lasting(version)).is_session_present
    first.disconnect()
    assert open_client().connect(client_id, **lasting(version)).is_session_present


@from_3_1_1
def test_mqtt_3_1_2_12_no_will_without_its_flag(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.1.2-10, -12], [v5 MQTT-3.1.2-10]: not even that of the session's connection before."""
    client_id, topic = name(), name()
    watcher = client(name())
    watcher.subscribe(topic)
    client(client_id, will=mqtt.Will(topic, b"will", 1), **lasting(version)).disconnect()
    client(client_id, **lasting(version)).close()
    client(client_id, **lasting(version)).publish(topic, b"after", qos=1)
    assert watcher.receive_publish().payload == b"after"


@from_3_1_1
def test_mqtt_3_1_2_16_a_will_is_not_retained_unasked(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    """[v3.1.1 MQTT-3.1.2-16], [v5 MQTT-3.1.2-14]."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    client(name(), will=mqtt.Will(topic, b"will", 1)).close()
    assert not watcher.receive_publish().retain
    late = client(name())
    late.subscribe(topic)
    assert late.receive_until_quiet() == []


@only_5
def test_v5_mqtt_4_1_0_1_a_session_does_not_expire_while_it_is_connected(
    client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    topic = name()
    for interval_s in (0, 1):
        connected = client(name(), **lasting(5, interval_s))
        connected.subscribe((topic, 1))
        connected.expect_nothing(2.1)
        connected.publish(topic, b"x", qos=1)
        assert connected.receive_publish().payload == b"x"


@from_3_1_1
def test_mqtt_3_12_4_1_pingreq_is_answered_with_pingresp(client: Callable[..., RawClient]) -> None:
    connection = client()
    for _ in range(3):
        connection.send(mqtt.PING)
        assert connection.receive() == mqtt.Packet(mqtt.PINGRESP, 0, b"")


@from_3_1_1
def test_mqtt_3_14_1_1_reserved_bits_of_disconnect(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.14.1-1], [v5 MQTT-3.14.1-1]: an error, so that the will is published."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    leaving = client(name(), will=mqtt.Will(topic, b"will"))
    leaving.send(b"\xe1\x00")
    packets = leaving.receive_until_closed()
    assert [mqtt.read_disconnect(each) for each in packets] == ([0x81] if version == 5 else [])
    assert watcher.receive_publish().payload == b"will"


@only_5
@pytest.mark.parametrize("last", [mqtt.connect(5, "again"), b"\x00\x00", mqtt.subscribe(5, 1, [])])
def test_v5_mqtt_3_14_2_2_a_servers_disconnect_has_no_session_expiry(
    client: Callable[..., RawClient], name: Callable[[], str], last: bytes
) -> None:
    """[v5 MQTT-3.14.2-2]; it is the last packet [v5 MQTT-3.14.4-1], and closes [v5 MQTT-3.14.4-2], [v5 MQTT-4.13.2-1]."""
    connection = client(name(), **lasting(5))
    connection.send(last + mqtt.PING)
    (packet,) = connection.receive_until_closed()
    assert packet.type == mqtt.DISCONNECT
    assert packet.body[0] >= 0x80
    assert bytes([mqtt.SESSION_EXPIRY_INTERVAL]) not in packet.body[1:]


@only_5
@pytest.mark.parametrize("limit", [(mqtt.MAXIMUM_PACKET_SIZE, 24), (REQUEST_PROBLEM_INFORMATION, 0)])
def test_v5_mqtt_3_1_2_29_answers_explain_nothing_where_there_is_no_room(
    open_client: Callable[..., RawClient], name: Callable[[], str], limit: tuple[int, int]
) -> None:
    """No Reason String or User Property for a client that takes small packets, or does not want them.

    [v5 MQTT-3.1.2-29], [v5 MQTT-3.2.2-19, -20], [v5 MQTT-3.4.2-2, -3], [v5 MQTT-3.5.2-2, -3], [v5 MQTT-3.6.2-2, -3],
    [v5 MQTT-3.7.2-2, -3], [v5 MQTT-3.9.2-1, -2], [v5 MQTT-3.11.2-1, -2], [v5 MQTT-3.14.2-3, -4].
    """
    connection = open_client()
    connection.send(mqtt.connect(5, name(), props=[limit]))
    answers = [connection.receive(mqtt.CONNACK)]
    for packet, answer_type in (
        (mqtt.publish(5, "$SYS/x", qos=1, packet_id=1), mqtt.PUBACK),
        (mqtt.publish(5, "$SYS/x", qos=2, packet_id=2), mqtt.PUBREC),
        (mqtt.acknowledgement(mqtt.PUBREC, 3), mqtt.PUBREL),
        (mqtt.acknowledgement(mqtt.PUBREL, 4), mqtt.PUBCOMP),
        (mqtt.subscribe(5, 5, [("too/deep" * 100, 1)]), mqtt.SUBACK),
        (mqtt.unsubscribe(5, 6, ["never/subscribed"]), mqtt.UNSUBACK),
        (mqtt.connect(5, "again"), mqtt.DISCONNECT),
    ):
        connection.send(packet)
        answers.append(connection.receive(answer_type))
    sizes = [2 + len(answer.body) for answer in answers]
    assert max(sizes[1:]) <= 5 + 1  # fixed header, packet identifier, reason code, and an empty list of properties
    assert limit[0] != mqtt.MAXIMUM_PACKET_SIZE or sizes[0] <= limit[1]
