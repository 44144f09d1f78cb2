"""What clients see of the gateway: balancing, both directions, ends, silence after a container's death, bounds."""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import TYPE_CHECKING

from gateway_process import TIMEOUT_S, Client, eventually

if TYPE_CHECKING:
    from gateway_process import GatewayProcess


def test_each_connection_gets_the_next_container_and_stays_there(gateway: GatewayProcess):
    gateway.start("--containers", "3")
    clients = [Client(gateway) for _ in range(6)]
    names = [client.who()[0] for client in clients]
    assert sorted(names[:3]) == ["tcp-1", "tcp-2", "tcp-3"]
    assert names[3:] == names[:3]
    assert [client.who()[0] for client in clients] == names
    for client in clients:
        client.socket.close()


def test_a_container_gets_the_platforms_variables_and_those_of_the_caller(gateway: GatewayProcess):
    gateway.start(OWN="passed-on")
    with Client(gateway) as client:
        name, port, tcp_url, own = client.ask("env").split()
    assert (name, tcp_url, own) == ("tcp-1", f"tcp://127.0.0.1:{gateway.port}", "passed-on")
    assert int(port) != gateway.port


def test_a_container_sees_the_gateways_address_only(gateway: GatewayProcess):
    gateway.start("--host", "127.0.0.2")
    found = re.search(r"listens at tcp://127.0.0.2:(\d+)", gateway.output)
    assert found is not None
    with socket.create_connection(("127.0.0.2", int(found[1])), TIMEOUT_S, ("127.0.0.3", 0)) as client:
        client.sendall(b"peer\n")
        assert client.recv(100) == b"127.0.0.1\n"


def test_what_a_container_closes_is_closed_for_its_client(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        assert client.ask("last words") == "last words"
        client.send("close")
        assert client.receive_all() == b""


def test_a_client_can_close_its_direction_first(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        client.send("x" * 50_000)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b"x" * 50_000 + b"\n"


def test_a_client_that_leaves_is_gone_for_its_container_too(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        client.who()
        assert " 1 connections" in gateway.act("status")
    eventually(lambda: " 0 connections" in gateway.act("status"), "the connection is over")


def test_a_killed_containers_clients_hear_nothing_and_what_they_send_vanishes(gateway: GatewayProcess):
    gateway.start("--containers", "2")
    with Client(gateway) as first, Client(gateway) as second:
        hanging, living = (first, second) if first.who()[0] == "tcp-1" else (second, first)
        gateway.act("kill tcp-1")
        eventually(lambda: "1 of them hanging" in gateway.act("status"), "the connection hangs")
        hanging.send("12345")
        assert living.ask("still here") == "still here"
        assert not hanging.has_news
    assert "1 (6 bytes) for containers that were gone" in gateway.summary()


def test_a_death_from_outside_is_silent_as_well_and_the_client_can_leave(gateway: GatewayProcess):
    gateway.start()
    clients = [Client(gateway) for _ in range(50)]
    pids = {client.who()[1] for client in clients}
    os.kill(pids.pop(), signal.SIGKILL)
    eventually(lambda: "50 of them hanging" in gateway.act("status"), "all connections hang")
    assert not any(client.has_news for client in clients)
    for client in clients:
        client.socket.close()
    eventually(lambda: "0 connections, 0 of them hanging" in gateway.act("status"), "none is kept")


def test_a_container_that_ends_by_itself_closes_its_connections(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        _, pid = client.who()
        client.send("exit 7")
        assert client.receive_all() == b""
    eventually(lambda: gateway.output.count("ready after") == 2, "it is started again")
    with Client(gateway) as client:
        assert client.who()[0] == "tcp-1"
        assert client.who()[1] != pid
    assert "status 7" in gateway.summary()


def test_a_slow_reader_makes_its_sender_wait_and_loses_nothing(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        client.send("flood 40000000")
        _ = client.socket.recv(1)
        gateway.act("stop tcp-1")
        gateway.act("cont tcp-1")
        client.socket.shutdown(socket.SHUT_WR)
        assert len(client.receive_all()) == 39_999_999


def test_a_frozen_container_takes_no_more_than_buffers_hold(gateway: GatewayProcess):
    gateway.start()
    with Client(gateway) as client:
        client.send("sink")
        gateway.act("stop tcp-1")
        client.socket.settimeout(0.5)
        sent, chunk = 0, b"x" * 65536
        try:
            while sent < 200_000_000:
                sent += client.socket.send(chunk)
        except TimeoutError:
            pass
        assert sent < 40_000_000  # kernel buffers of four sockets, and the gateway's
        gateway.act("cont tcp-1")
        client.socket.settimeout(TIMEOUT_S)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b""
    assert f"{sent + len('sink') + 1:,} to containers" in gateway.summary()


def test_packets_over_the_rate_are_late_but_not_lost(gateway: GatewayProcess):
    gateway.start("--rate", "1000", "--burst", "1")
    payload = b"x" * 3_000_000  # 2001 packets: more than a burst of 1000
    with Client(gateway) as client:
        client.send("sink")
        client.socket.sendall(payload)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive_all() == b""
    summary = gateway.summary()
    assert f"{len(payload) + len('sink') + 1:,} to containers" in summary
    found = re.search(r"packets dropped ([0-9,]+) over the rate limit", summary)
    assert found is not None
    assert found[1] != "0"
