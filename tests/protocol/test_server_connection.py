"""The state machine of a connection: no event loop, a `now` that the test chooses."""

from __future__ import annotations

import pytest

from broker.protocol.connection import ServerConnection, State
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import ConnectionLimits
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.ping import Pingreq
from broker.wire.puback import Puback, Pubrec
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode
from broker.wire.suback import Suback

V3_1_1, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5
WITHOUT_REASONS = {"request_problem_information": 0}


def machine(**limits: int) -> ServerConnection:
    return ServerConnection(ConnectionLimits(**limits), KnownTopics(), ReceiveBuffers(), now=100.0)


def connected(version: ProtocolVersion = V5, keep_alive_s: int = 0, **limits: int) -> ServerConnection:
    connection = machine(**limits)
    connection.receive_data(Connect(version, "one", properties=WITHOUT_REASONS).encode(version), now=100)
    connection.accept(Connack(), keep_alive_s)
    connection.output.clear()
    return connection


def test_mqtt_3_1_0_1_first_packet_is_connect() -> None:
    connection = machine()
    assert connection.receive_data(Pingreq().encode(V5), now=100) == []
    assert connection.is_closed
    assert connection.output == []


def test_the_first_byte_is_enough_to_refuse_what_is_not_mqtt() -> None:
    connection = machine()
    connection.receive_data(b"G", now=100)
    assert connection.is_closed


def test_mqtt_3_1_0_2_second_connect_is_a_protocol_error() -> None:
    connection = connected()
    connection.receive_data(Connect(V5, "one").encode(V5), now=101)
    assert connection.output == [Disconnect(ReasonCode.PROTOCOL_ERROR).encode(V5)]
    assert connection.is_closed


def test_what_follows_connect_waits_for_the_decision() -> None:
    connection = machine()
    publish = Publish("a", b"x")
    packets = connection.receive_data(Connect(V5, "one").encode(V5) + publish.encode(V5), now=100)
    assert [type(packet) for packet in packets] == [Connect]
    assert connection.receive_data(publish.encode(V5), now=100) == []
    connection.accept(Connack(), 0)
    assert connection.resume(100) == [publish, publish]


def test_a_rejected_client_is_not_heard() -> None:
    connection = machine()
    connect = Connect(V5, "one", properties=WITHOUT_REASONS)
    connection.receive_data(connect.encode(V5) + Publish("a", b"x").encode(V5), now=100)
    connection.reject(ReasonCode.NOT_AUTHORIZED)
    assert connection.output == [Connack(False, ReasonCode.NOT_AUTHORIZED).encode(V5)]
    assert connection.resume(100) == []


@pytest.mark.parametrize("version", [V3_1_1, V5])
def test_packets_in_the_wrong_direction_close(version: ProtocolVersion) -> None:
    connection = connected(version)
    connection.receive_data(Suback(1, [0]).encode(version), now=101)
    assert connection.close_reason is ReasonCode.PROTOCOL_ERROR
    assert connection.is_closed


@pytest.mark.parametrize(
    ("first_byte", "reason_code"),
    [
        *((first, ReasonCode.PROTOCOL_ERROR) for first in (0x00, 0x04, 0x10, 0x11, 0x20, 0x22, 0xF0, 0xF1)),
        *((first, ReasonCode.PROTOCOL_ERROR) for first in (0x90, 0xB0, 0xD0)),
        *((first, ReasonCode.MALFORMED_PACKET) for first in (0x91, 0xB8, 0xD2)),
    ],
    ids=hex,
)
def test_a_first_byte_out_of_place_is_enough(first_byte: int, reason_code: ReasonCode) -> None:
    """Whatever its length would be: types that no connected client sends [v5 MQTT-3.1.0-2], [v5 MQTT-2.1.3-1]."""
    connection = connected()
    connection.receive_data(bytes([first_byte]), now=101)
    assert connection.output == [Disconnect(reason_code).encode(V5)]


def test_a_connect_that_cannot_be_read_is_answered() -> None:
    connection = machine()
    connection.receive_data(b"\x10\x10\0\4MQTT\5\2\0\0\3\x21\0\0\0\1c", now=100)  # Receive Maximum 0
    assert connection.output == [Connack(False, ReasonCode.PROTOCOL_ERROR).encode(V5)]
    assert connection.is_closed
    assert connection.close_reason is ReasonCode.PROTOCOL_ERROR


def test_mqtt_3_1_2_24_no_connack_to_a_client_that_takes_none_so_large() -> None:
    for limit, is_closed in ((4, True), (5, False)):
        connection = machine()
        connection.receive_data(Connect(V5, "one", properties={"maximum_packet_size": limit}).encode(V5), now=100)
        connection.accept(Connack(), 0)
        assert connection.is_closed is is_closed
        assert b"".join(connection.output) == (b"" if is_closed else b"\x20\x03\0\0\0")


def test_mqtt_3_2_2_15_a_packet_too_large_is_refused_from_its_header() -> None:
    connection = connected(max_packet_bytes=1000)
    connection.receive_data(b"\x30\xff\xff\xff\x7f", now=101)
    assert connection.output == [Disconnect(ReasonCode.PACKET_TOO_LARGE).encode(V5)]


def test_a_large_packet_in_small_pieces_is_kept_once() -> None:
    connection = connected(max_packet_bytes=300_000)
    data = Publish("a", b"x" * 200_000).encode(V5)
    packets = [
        packet
        for start in range(0, len(data), 100)
        for packet in connection.receive_data(data[start : start + 100], 101)
    ]
    assert packets == [Publish("a", b"x" * 200_000)]
    assert not connection.has_unread


def test_mqtt_3_12_4_1_pingreq_is_answered() -> None:
    connection = connected()
    connection.receive_data(Pingreq().encode(V5), now=101)
    assert connection.output == [b"\xd0\x00"]


def test_mqtt_3_1_2_22_keep_alive_is_enforced_at_one_and_a_half() -> None:
    connection = connected(keep_alive_s=10)
    assert connection.deadline() == 115
    connection.receive_data(Pingreq().encode(V5), now=110)
    assert connection.deadline() == 125
    connection.output.clear()
    connection.time_out()
    assert connection.output == [Disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT).encode(V5)]


def test_keep_alive_of_zero_is_never_due() -> None:
    assert connected(keep_alive_s=0).deadline() == float("inf")


def test_time_for_connect_is_not_prolonged_by_single_bytes() -> None:
    connection = machine(connect_timeout_s=10)
    connection.receive_data(b"\x10", now=109)
    assert connection.deadline() == 110


def test_mqtt_3_3_4_9_receive_maximum() -> None:
    connection = connected(receive_maximum=2)
    data = b"".join(Publish("a", b"x", 1, False, False, packet_id).encode(V5) for packet_id in (1, 2, 3))
    packets = connection.receive_data(data, now=101)
    assert [packet.packet_id for packet in packets] == [1, 2]
    assert connection.close_reason is ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_acknowledged_publishes_make_room() -> None:
    connection = connected(receive_maximum=1)
    for packet_id in (1, 2, 3):
        connection.receive_data(Publish("a", b"x", 1, False, False, packet_id).encode(V5), now=101)
        connection.acknowledge_publish(packet_id, 1)
    assert not connection.is_closed


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reason_code", [0, ReasonCode.NO_MATCHING_SUBSCRIBERS, ReasonCode.NOT_AUTHORIZED])
def test_acknowledgements_are_those_of_the_wire_room(qos: int, reason_code: int) -> None:
    for version in (V3_1_1, V5):
        connection = connected(version)
        connection.acknowledge_publish(258, qos, reason_code)
        packet = Puback(258, reason_code) if qos == 1 else Pubrec(258, reason_code)
        assert connection.output == [packet.encode(version)]


def test_topic_alias_is_resolved_and_bounded() -> None:
    connection = connected()
    first = Publish("a/b", b"1", properties={"topic_alias": 1}).encode(V5)
    second = Publish("", b"2", properties={"topic_alias": 1}).encode(V5)
    assert [packet.topic_name for packet in connection.receive_data(first + second, now=101)] == ["a/b", "a/b"]
    connection.receive_data(Publish("a", b"", properties={"topic_alias": 11}).encode(V5), now=102)
    assert connection.close_reason is ReasonCode.TOPIC_ALIAS_INVALID


def test_unknown_topic_alias_is_a_protocol_error() -> None:
    connection = connected()
    connection.receive_data(Publish("", b"2", properties={"topic_alias": 1}).encode(V5), now=101)
    assert connection.close_reason is ReasonCode.PROTOCOL_ERROR


def test_packets_before_an_error_are_handed_on() -> None:
    connection = connected(V3_1_1)
    packets = connection.receive_data(Publish("a", b"x").encode(V3_1_1) + b"\x00\x00", now=101)
    assert packets == [Publish("a", b"x")]
    assert connection.state is State.CLOSED
    assert connection.output == []  # MQTT 3.1.1 has no DISCONNECT from a server


def test_topic_levels_are_bounded() -> None:
    connection = connected(max_topic_levels=3)
    connection.receive_data(Publish("a/b/c/d", b"x").encode(V5), now=101)
    assert connection.close_reason is ReasonCode.TOPIC_NAME_INVALID
