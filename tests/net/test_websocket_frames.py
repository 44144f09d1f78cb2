"""MQTT over WebSocket: MQTT 5.0 §6 and RFC 6455, with the frames written by the `websockets` library."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from network_client import open_socket, open_websocket, read_to_end
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.broker import mqtt_bytes as mqtt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.broker.broker_process import BrokerProcess

CONNACK = b"\x20\x02\x00\x00"
PINGRESP = b"\xd0\x00"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n"
)


@pytest.fixture
def websocket(doors: BrokerProcess) -> Iterator[ClientConnection]:
    with open_websocket(doors) as opened:
        yield opened


def receive(websocket: ClientConnection, length: int) -> bytes:
    """Return `length` bytes, over as many messages as the broker likes."""
    received = b""
    while len(received) < length:
        message = websocket.recv(10)
        assert isinstance(message, bytes)
        received += message
    return received


def close_code(websocket: ClientConnection) -> int:
    """Read to the end and return the code of the broker's Close frame."""
    with pytest.raises(ConnectionClosed) as closed:
        receive(websocket, 1_000_000)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


@pytest.mark.parametrize("subprotocol", ["mqtt", "mqttv3.1"])
def test_the_subprotocol_is_confirmed(doors: BrokerProcess, subprotocol: str) -> None:
    """[v5 MQTT-6.0.0-4]"""
    with open_websocket(doors, subprotocol=subprotocol) as opened:
        assert opened.subprotocol == subprotocol
        assert opened.protocol.extensions == []  # compression was offered and is not used


def test_another_subprotocol_is_refused_with_the_reason(doors: BrokerProcess) -> None:
    """[v5 MQTT-6.0.0-3]"""
    for subprotocols in (["chat"], None):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(f"ws://{doors.host}:{doors.port}", subprotocols=subprotocols),
        ):
            pass
        assert refused.value.response.status_code == 400
        assert b"subprotocol" in (refused.value.response.body or b"")


def test_packets_may_be_split_over_frames(websocket: ClientConnection) -> None:
    """[v5 MQTT-6.0.0-2]"""
    for byte in mqtt.connect(4, "split") + mqtt.PING:
        websocket.send(bytes([byte]))
    assert receive(websocket, 6) == CONNACK + PINGRESP


def test_packets_may_be_joined_in_a_frame(websocket: ClientConnection) -> None:
    """[v5 MQTT-6.0.0-2]"""
    websocket.send(mqtt.connect(4, "joined") + 3 * mqtt.PING)
    assert websocket.recv(10) == CONNACK + 3 * PINGRESP


def test_a_message_may_be_fragmented(websocket: ClientConnection) -> None:
    packets = mqtt.connect(4, "fragmented") + mqtt.PING
    websocket.send([packets[:3], packets[3:-1], packets[-1:]])
    assert receive(websocket, 6) == CONNACK + PINGRESP


def test_frames_behind_the_request_are_not_lost(doors: BrokerProcess) -> None:
    packet = mqtt.connect(4, "eager")
    frame = bytes([0x82, 0x80 | len(packet), 0, 0, 0, 0]) + packet  # its mask is zero
    with open_socket(doors) as connection:
        connection.sendall(UPGRADE + b"\r\n" + frame)
        answer = b""
        while not answer.endswith(CONNACK) and (chunk := connection.recv(1024)):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\n\x82\x04" + CONNACK)


def test_a_text_frame_closes(websocket: ClientConnection) -> None:
    """[v5 MQTT-6.0.0-1]"""
    websocket.send("text")
    assert close_code(websocket) == 1003


def test_a_frame_that_breaks_a_rule_closes(doors: BrokerProcess) -> None:
    """RFC 6455 §5.1: a client's frame without a mask."""
    with open_socket(doors) as connection:
        connection.sendall(UPGRADE + b"\r\n" + b"\x82\x01x")
        answer = read_to_end(connection)
    assert b"\x88" in answer
    assert (1002).to_bytes(2, "big") in answer.rpartition(b"\r\n\r\n")[2]


def test_a_message_has_a_bound(websocket: ClientConnection) -> None:
    websocket.send(mqtt.connect(4, "large"))
    assert websocket.recv(10) == CONNACK
    with contextlib.suppress(ConnectionClosed):  # already while it is sent
        websocket.send(bytes(2 * 2_000_000 + 1))
    with pytest.raises(ConnectionClosed):
        websocket.recv(10)


def test_packets_up_to_the_maximum_pass(websocket: ClientConnection) -> None:
    publish = mqtt.publish(4, "large", bytes(1_999_000), qos=1, packet_id=7)
    websocket.send(mqtt.connect(4, "largest") + publish)
    assert receive(websocket, 8) == CONNACK + b"\x40\x02\x00\x07"


def test_pings_are_answered_before_and_after_connect(websocket: ClientConnection) -> None:
    """RFC 6455 §5.5.2"""
    assert websocket.ping().wait(10)
    websocket.send(mqtt.connect(4, "pinged"))
    assert websocket.recv(10) == CONNACK
    assert websocket.ping().wait(10)


@pytest.mark.parametrize(
    ("packets", "code"),
    [
        (b"\x10\x00", 1002),  # malformed
        (mqtt.PING, 1002),  # not CONNECT
        (mqtt.connect(5, "leaving") + mqtt.disconnect(5), 1000),
        (mqtt.connect(5, "greedy") + b"\x30\xff\xff\xff\x7f", 1009),  # above the maximum packet size
    ],
)
def test_the_close_frame_says_what_mqtt_said(websocket: ClientConnection, packets: bytes, code: int) -> None:
    websocket.send(packets)
    assert close_code(websocket) == code


def test_a_client_may_close_first(websocket: ClientConnection) -> None:
    websocket.send(mqtt.connect(4, "closes"))
    assert websocket.recv(10) == CONNACK
    websocket.close(1001)
    assert websocket.protocol.close_rcvd is not None
    assert websocket.protocol.close_rcvd.code == 1001
