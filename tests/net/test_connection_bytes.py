"""Connections are charged for what they take by themselves, and for what they keep of openings that are not whole."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lone_server import LoneServer, RecordingTransport, lone_plan, turns
from network_client import DEADLINE_S, NetworkClient, open_socket, read_to_end

import settings
from broker.memory_plan import MemoryPlan
from broker.net.connection import CONNECTION_BYTES, TLS_BYTES, WEBSOCKET_BYTES, Connection
from broker.net.door import Door
from broker.net.tls import PartialRecord
from broker.session.sessions import SESSION_BYTES
from tests.broker import mqtt_bytes as mqtt

if TYPE_CHECKING:
    from collections.abc import Callable

    from certificates import Authority

    from tests.broker.broker_process import BrokerProcess

KIB = 1024


def test_ten_thousand_connections_with_a_session_fit_the_smallest_container() -> None:
    environment = {"REDIS_URL": "redis://127.0.0.1:1", "ALLOW_ANONYMOUS": "true"}
    plan = MemoryPlan.of(settings.load(environment, "tcp"))
    assert plan.clients.limit_bytes >= 10_000 * (CONNECTION_BYTES + SESSION_BYTES)


async def test_what_connections_take_is_charged_and_refused_when_full() -> None:
    server = LoneServer(lone_plan(clients=20 * KIB))
    clients = server.broker.plan.clients
    opened = []
    while clients.used_bytes + CONNECTION_BYTES <= clients.limit_bytes:
        opened.append(Connection(server))
        opened[-1].connection_made(RecordingTransport(opened[-1]))
    one_more = Connection(server)
    transport = RecordingTransport(one_more)
    one_more.connection_made(transport)
    assert transport.is_aborted
    assert (clients.refused, server.broker.counters.connections_refused) == (1, 1)
    await turns(2)
    for connection in opened:
        connection.connection_lost(None)
        connection.connection_lost(None)  # nothing is given back twice
    assert clients.used_bytes == 0
    again = Connection(server)
    again.connection_made(RecordingTransport(again))
    assert clients.used_bytes == CONNECTION_BYTES


async def test_a_head_that_is_not_whole_is_charged_and_refused_when_full() -> None:
    server = LoneServer(receive_buffer_bytes=64 * KIB)
    doors = []
    for _ in range(30):
        connection = Connection(server)
        door = Door(connection, server.doors)
        transport = SwitchingTransport(connection)
        door.connection_made(transport)
        door.data_received(b"GET / HTTP/1.1\r\n")
        transport.protocol_below.data_received(b"X: " + b"x" * 4000)
        doors.append(transport)
        assert server.receive_buffers.used_bytes <= 64 * KIB
    assert server.receive_buffers.refused > 0
    assert doors[-1].is_aborted
    assert not doors[0].is_aborted
    doors[0].protocol_below.data_received(b"\r\n\r\n")
    assert doors[0].written[0].startswith(b"HTTP/1.1 200 ")
    for each in doors:
        each.protocol_below.connection_lost(None)
    assert server.receive_buffers.used_bytes == 0
    await turns(2)


class SwitchingTransport(RecordingTransport):
    def set_protocol(self, protocol: object) -> None:
        self.protocol_below = protocol


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


@pytest.mark.parametrize("step", [1, 3, 7, 100, 10_000])
def test_records_are_followed_however_they_are_cut(step: int) -> None:
    stream = record(10) + record(0) + record(1000) + record(300)[:200]
    following = PartialRecord()
    kept = [following.follow(stream[start : start + step]) for start in range(0, len(stream), step)]
    assert kept[-1] == 195
    assert max(kept) <= 1000


def resident_bytes(broker: BrokerProcess) -> int:
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    ("door", "count", "charged"),
    [
        ("tcp", 600, CONNECTION_BYTES),
        ("tls", 200, CONNECTION_BYTES + TLS_BYTES),
        ("ws", 300, CONNECTION_BYTES + WEBSOCKET_BYTES),
    ],
)
def test_a_connection_takes_about_what_it_is_charged(
    start: Callable[..., BrokerProcess], authority: Authority, door: str, count: int, charged: int
) -> None:
    broker = start(CONTAINER_MEMORY=str(1024 * 1024 * 1024))
    context = authority.client_context()
    with contextlib.ExitStack() as opened:
        before = 0
        for number in range(count + 100):
            if number == 100:  # what the first ones need is there
                before = resident_bytes(broker)
            client = opened.enter_context(NetworkClient(broker, door, context))
            client.send(mqtt.connect(4, f"client-{number}"))
            assert client.receive()[0] >> 4 == mqtt.CONNACK
        each = (resident_bytes(broker) - before) / count
    assert each < 1.3 * (charged + SESSION_BYTES) + 500
    assert each > 0.3 * charged


def test_unfinished_handshakes_are_bounded(start: Callable[..., BrokerProcess], authority: Authority) -> None:
    broker = start(RECEIVE_BUFFER_BYTES="200000")
    part = b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xfc" + b"\x03\x03" + bytes(12_000)
    with contextlib.ExitStack() as opened:
        last = None
        for _ in range(20):
            last = opened.enter_context(open_socket(broker))
            with contextlib.suppress(ConnectionError):
                last.sendall(part)
        assert last is not None
        last.settimeout(DEADLINE_S)
        assert read_to_end(last) == b""
    context = authority.client_context()
    assert isinstance(context, ssl.SSLContext)
    with NetworkClient(broker, "tls", context) as late:
        late.send(mqtt.connect(4, "late"))
        assert late.receive()[0] >> 4 == mqtt.CONNACK
