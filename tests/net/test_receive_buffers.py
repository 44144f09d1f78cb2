"""Many connections that each send the beginning of a large packet: the broker stays small, and everybody else is served."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_client import NetworkClient, open_socket, read_to_end

from tests.broker import mqtt_bytes as mqtt
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from certificates import Authority

    from tests.broker.broker_process import BrokerProcess

MIB = 1024 * 1024
CONNECTIONS, PART_BYTES, BOUND_BYTES = 80, MIB, 8 * MIB
ROOM_BYTES = 16 * MIB  # for what else the process does meanwhile; without the bound it would keep 80 MiB
BEGINNING = mqtt.publish(5, "half", bytes(1_900_000))[:PART_BYTES]
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)
FRAME_HEAD = b"\x82\xff" + struct.pack(">Q", 1_900_000) + bytes(4)  # binary, a mask of zeros
QUOTA_EXCEEDED = 0x97


def resident_bytes(broker: BrokerProcess) -> int:
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * 4096


def send_half_a_packet(broker: BrokerProcess, number: int) -> socket.socket:
    connection = open_socket(broker)
    connection.sendall(mqtt.connect(5, f"half-{number}"))
    assert connection.recv(1024)[0] >> 4 == mqtt.CONNACK
    with contextlib.suppress(ConnectionError):  # the broker may have enough before all of it is sent
        connection.sendall(BEGINNING)
    return connection


def send_half_a_frame(broker: BrokerProcess, number: int) -> socket.socket:
    connection = open_socket(broker)
    connection.sendall(UPGRADE)
    assert connection.recv(1024).startswith(b"HTTP/1.1 101 ")
    with contextlib.suppress(ConnectionError):
        connection.sendall(FRAME_HEAD + BEGINNING)
    return connection


@pytest.mark.parametrize("send_half", [send_half_a_packet, send_half_a_frame], ids=["packets", "frames"])
def test_half_packets_of_many_connections_are_bounded(
    start: Callable[..., BrokerProcess], authority: Authority, send_half: Callable[[BrokerProcess, int], socket.socket]
) -> None:
    broker = start(RECEIVE_BUFFER_BYTES=str(BOUND_BYTES), MAX_KEEP_ALIVE_S="600")
    with contextlib.ExitStack() as opened:
        bystander = opened.enter_context(NetworkClient(broker, "tcp", authority.client_context()))
        bystander.send(mqtt.connect(4, "bystander"))
        assert bystander.receive()[0] >> 4 == mqtt.CONNACK
        before = resident_bytes(broker)
        for number in range(CONNECTIONS):
            opened.enter_context(send_half(broker, number))
            bystander.send(mqtt.publish(4, "small", b"x" * 100, qos=1, packet_id=number + 1))
            assert bystander.receive()[0] >> 4 == mqtt.PUBACK
        assert resident_bytes(broker) - before < BOUND_BYTES + ROOM_BYTES
    with NetworkClient(broker, "tcp", authority.client_context()) as late:
        late.send(mqtt.connect(4, "late"))
        assert late.receive()[0] >> 4 == mqtt.CONNACK
        eventually(lambda: takes_large(late), "what the others kept is given back")
    assert "Traceback" not in broker.log


def takes_large(client: NetworkClient) -> bool:
    client.send(mqtt.publish(4, "large", bytes(PART_BYTES), qos=1, packet_id=1))
    return client.receive()[0] >> 4 == mqtt.PUBACK


def test_who_grows_past_the_bound_is_told(start: Callable[..., BrokerProcess]) -> None:
    broker = start(RECEIVE_BUFFER_BYTES="500000")
    with send_half_a_packet(broker, 1) as connection:
        ends = read_to_end(connection)
    assert ends[0] >> 4 == mqtt.DISCONNECT
    assert ends[2] == QUOTA_EXCEEDED


def test_a_large_connect_of_mqtt_5_is_told(start: Callable[..., BrokerProcess]) -> None:
    """Though its sender is sending still."""
    longest = "x" * 65_535
    connect = mqtt.connect(5, longest, username=longest, password=longest, will=mqtt.Will("w", longest.encode()))
    broker = start()
    with open_socket(broker) as connection:
        connection.sendall(connect)
        assert read_to_end(connection) == b"\x20\x03\x00\x95\x00"
