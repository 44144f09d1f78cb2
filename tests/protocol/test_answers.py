"""Answers say why, as far as the client wants to know and takes it (MQTT 5.0 §3.1.2.11.4, §3.1.2.11.7)."""

from __future__ import annotations

import pytest

from broker.protocol import reason_strings
from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import ConnectionLimits
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.wire.codec import Packet, decode_packet
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish
from broker.wire.reason_codes import REASON_CODES_OF, ReasonCode
from broker.wire.suback import Suback

V5 = ProtocolVersion.V5
ALIAS_UNKNOWN = Publish("", b"", properties={"topic_alias": 1}).encode(V5)


def deciding(**properties: int) -> ServerConnection:
    connection = ServerConnection(ConnectionLimits(), KnownTopics(), ReceiveBuffers(), now=0)
    connection.receive_data(Connect(V5, "one", properties=properties).encode(V5), now=0)
    return connection


def connected(**properties: int) -> ServerConnection:
    connection = deciding(**properties)
    connection.accept(Connack(), 0)
    connection.output.clear()
    return connection


def sent(connection: ServerConnection) -> Packet:
    """Return the one packet that was sent."""
    (data,) = connection.output
    return decode_packet(data[0], data[2:], V5)


def test_a_disconnect_says_why() -> None:
    connection = connected()
    connection.disconnect(ReasonCode.SESSION_TAKEN_OVER)
    reason = {"reason_string": "another connection uses this client identifier"}
    assert sent(connection) == Disconnect(ReasonCode.SESSION_TAKEN_OVER, reason)


def test_a_packet_that_breaks_a_rule_gets_its_code_alone() -> None:
    connection = connected()
    connection.receive_data(ALIAS_UNKNOWN, now=1)
    assert sent(connection) == Disconnect(ReasonCode.PROTOCOL_ERROR)


def test_refusals_say_what_their_codes_leave_open() -> None:
    connection = deciding()
    connection.reject(ReasonCode.QUOTA_EXCEEDED)
    answer = sent(connection)
    assert isinstance(answer, Connack)
    assert "sessions" in answer.properties["reason_string"]


def test_a_suback_explains_each_failure_once() -> None:
    connection = connected()
    connection.answer(Suback(1, [0x8F, 1, 0x97, 0x8F]))
    answer = sent(connection)
    assert isinstance(answer, Suback)
    assert answer.properties["reason_string"].count("topic filter") == 1
    assert answer.properties["reason_string"].count("; ") == 1


def test_success_is_not_explained() -> None:
    connection = connected()
    connection.answer(Suback(1, [0, 1, 2]))
    assert sent(connection) == Suback(1, [0, 1, 2])


def test_v5_mqtt_3_1_2_29_nothing_is_explained_to_who_does_not_want_it() -> None:
    connection = connected(request_problem_information=0)
    connection.disconnect(ReasonCode.SESSION_TAKEN_OVER)
    assert sent(connection) == Disconnect(ReasonCode.SESSION_TAKEN_OVER)


def test_v5_mqtt_3_14_2_3_a_reason_that_does_not_fit_is_left_out() -> None:
    connection = connected(maximum_packet_size=20)
    connection.disconnect(ReasonCode.SESSION_TAKEN_OVER)
    assert sent(connection) == Disconnect(ReasonCode.SESSION_TAKEN_OVER)


def test_v5_mqtt_3_1_2_24_an_answer_that_does_not_fit_disconnects() -> None:
    connection = connected(maximum_packet_size=20)
    connection.answer(Suback(1, [0] * 20))
    assert sent(connection) == Disconnect(ReasonCode.PACKET_TOO_LARGE)
    assert connection.is_closed


@pytest.mark.parametrize(("maximum", "expected"), [(10, [Connack(False, 0x95).encode(V5)]), (4, [])])
def test_v5_mqtt_3_1_2_24_a_connack_that_does_not_fit_rejects(maximum: int, expected: list[bytes]) -> None:
    connection = deciding(maximum_packet_size=maximum)
    connection.accept(Connack(properties={"receive_maximum": 10, "server_keep_alive": 10}), 10)
    assert connection.is_closed
    assert connection.output == expected


def test_reasons_are_kept_for_codes_that_their_packets_have() -> None:
    for packet_type, reasons in reason_strings._REASONS.items():
        assert set(reasons) <= REASON_CODES_OF[packet_type]
