"""The attacker's connections against a socket that answers as the test says: bounded, and counted."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from ports import HOST, free_port

from emulator.hostile.attack import Attack, TimeIsUpError
from emulator.hostile.client import Client, ServiceError
from emulator.hostile.packets import publish
from emulator.hostile.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNACK = b"\x20\x02\x00\x00"


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[socket.socket], None]], Target]]:
    """Start a server that treats each connection as told."""
    listener = socket.create_server((HOST, 0))

    def serve(treat: Callable[[socket.socket], None]) -> Target:
        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    treat(connection)

        threading.Thread(target=accept, daemon=True).start()
        return Target(HOST, listener.getsockname()[1])

    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_what_follows_connack_waits_for_it(served: Callable[[Callable[[socket.socket], None]], Target]):
    received: list[bytes] = []

    def treat(connection: socket.socket) -> None:
        received.append(connection.recv(1000))
        connection.sendall(CONNACK)
        received.append(connection.recv(1000))

    attack = Attack(served(treat), seconds=20)
    attack.client(b"c").send(publish(b"a"))
    attack.settle(0.1)
    attack.close()
    assert received[0].startswith(b"\x10")
    assert received[1] == publish(b"a")
    assert attack.counts == {"connected": 1, "CONNACK 0x00": 1, "closed": 1}


def test_an_attack_ends_when_its_time_is_up(served: Callable[[Callable[[socket.socket], None]], Target]):
    attack = Attack(served(lambda connection: connection.recv(1)), seconds=0.3)
    began_s = time.monotonic()
    attack.client(b"c")
    with pytest.raises(TimeIsUpError):
        attack.wait(5)
    attack.close()
    assert time.monotonic() - began_s < 10


def test_refused_connections_are_counted():
    attack = Attack(Target(HOST, free_port()), seconds=20, scale=0.5)
    for _ in range(attack.count(6)):
        attack.client(b"c")
    attack.settle(0.1)
    attack.close()
    assert attack.counts == {"refused": 3}


def test_a_scale_leaves_at_least_one():
    assert Attack(Target(HOST, 1), seconds=1, scale=0.001).count(10) == 1


def test_a_client_says_what_is_wrong(served: Callable[[Callable[[socket.socket], None]], Target]):
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"\x20\x03\x00\x97\x00")

    with pytest.raises(ServiceError, match="CONNACK 0x97"):
        Client(served(refuse), "c")


def test_a_client_does_not_wait_for_ever(served: Callable[[Callable[[socket.socket], None]], Target]):
    with pytest.raises(ServiceError, match=r"no CONNACK within 0\.1 s"):
        Client(served(lambda connection: connection.recv(1000) and time.sleep(0.3)), "c", timeout_s=0.1)
