"""What a peer that opens no session can use: little, and not for long."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_client import open_socket, open_websocket, read_to_end
from websockets.exceptions import ConnectionClosed

from tests.broker import mqtt_bytes as mqtt
from tests.broker.broker_process import BrokerProcess, eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from certificates import Authority

    from local.valkey import EmbeddedValkey

CONNECT_TIMEOUT_S = 2
SWEEP_S = 1


@pytest.fixture(scope="module")
def hasty(
    net_store: EmbeddedValkey, tls_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """A broker that gives an opening two seconds."""
    common = {"REDIS_URL": net_store.url, "ALLOW_ANONYMOUS": "true", "CONNECT_TIMEOUT_S": str(CONNECT_TIMEOUT_S)}
    process = BrokerProcess({**common, **tls_settings}, tmp_path_factory.mktemp("hasty") / "broker.log")
    process.start()
    yield process
    process.stop()


def descriptors(broker: BrokerProcess) -> int:
    return len(list(Path(f"/proc/{broker.pid}/fd").iterdir()))


def test_slow_openings_are_closed_in_time(hasty: BrokerProcess, authority: Authority) -> None:
    """One deadline for all of it: bytes that trickle and steps that are done do not prolong it."""
    before, began = hasty.log, time.monotonic()
    trickles = {
        open_socket(hasty): b"GET / HTTP/1.1\r\nX: " + b"x" * 500,
        open_socket(hasty): b"\x16\x03\x01\x02\x00\x01\x00",
    }
    inside_tls = open_socket(hasty, authority.client_context())
    done = {open_socket(hasty): b"", inside_tls: b"GET / HT"}
    with open_websocket(hasty) as upgraded:
        for connection, data in done.items():
            connection.sendall(data)
        open_trickles = dict(trickles)
        while open_trickles:
            assert time.monotonic() - began < CONNECT_TIMEOUT_S + 6 * SWEEP_S, "a trickle keeps a connection open"
            for connection, data in list(open_trickles.items()):
                if is_closed_after(connection, data[:1] or b"x"):
                    del open_trickles[connection]
                else:
                    open_trickles[connection] = data[1:]
        for connection in done:
            assert read_to_end(connection) == b""
        with pytest.raises(ConnectionClosed):
            upgraded.recv(10)
    assert CONNECT_TIMEOUT_S - 1 < time.monotonic() - began < CONNECT_TIMEOUT_S + 6 * SWEEP_S
    for connection in (*trickles, *done):
        connection.close()
    assert hasty.log == before


def is_closed_after(connection: socket.socket, data: bytes) -> bool:
    """Send `data`, wait a moment for the end of the connection, and say whether it came."""
    connection.settimeout(0.05)
    try:
        connection.sendall(data)
        return connection.recv(1024) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_probes_leave_nothing(doors: BrokerProcess, authority: Authority) -> None:
    """Bare connections, half handshakes and half requests: no descriptor and no line of log stays."""
    eventually(lambda: quiet(doors), "the tests before this one have closed their connections")
    with open_socket(doors) as client:  # once it is answered, no connection of the broker's start is left
        client.sendall(mqtt.connect(4, "before-probes"))
        assert client.recv(4)[0] >> 4 == mqtt.CONNACK
    eventually(lambda: quiet(doors), "its connection is closed")
    before, log = descriptors(doors), doors.log
    for number in range(500):
        with open_socket(doors) as probe:
            probe.sendall((b"", b"\x16\x03", b"GET / HT", b"\x10")[number % 4])
    context = authority.client_context()
    for _ in range(20):
        open_socket(doors, context).close()
    eventually(lambda: descriptors(doors) <= before, "no more descriptors than before")
    assert doors.log == log


def quiet(broker: BrokerProcess) -> bool:
    """Whether the broker holds no socket of a connection to its port, and none waits to be accepted.

    As the kernel tells it: a socket that a process has open has an inode, also when its peer has closed it;
    one that waits in the backlog has none yet, and is established or closed by its peer.
    """
    port, listening, established, close_wait = f":{broker.port:04X}", "0A", "01", "08"
    rows = [line.split() for line in Path(f"/proc/{broker.pid}/net/tcp").read_text().splitlines()[1:]]
    connections = [row for row in rows if row[1].endswith(port) and row[3] != listening]
    return not [row for row in connections if row[3] in {established, close_wait} or row[9] != "0"]


def test_a_client_hello_that_never_ends_is_bounded(doors: BrokerProcess) -> None:
    """OpenSSL refuses a handshake message above its maximum long before it is all there."""
    hello = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes(16380)
    with open_socket(doors) as connection:
        try:
            for _ in range(100):
                connection.sendall(hello)
        except ConnectionError:
            return
        assert read_to_end(connection)[:1] in {b"", b"\x15"}


def test_a_connection_is_free_again_after_a_refused_handshake(start: Callable[..., BrokerProcess]) -> None:
    broker = start(MAX_CONNECTIONS="1")
    eventually(lambda: quiet(broker), "the connection that found it listening is gone")
    untrusting = ssl.create_default_context()
    for _ in range(3):
        with pytest.raises(ssl.SSLCertVerificationError):
            open_socket(broker, untrusting)
        eventually(lambda: quiet(broker), "the refused connection is gone")
    with open_websocket(broker) as websocket:
        assert websocket.subprotocol == "mqtt"
