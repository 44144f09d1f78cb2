"""TLS on the broker's port: who gets in, what is refused, and that refusals are counted, not logged."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, cast

import pytest
import redis
from network_client import NetworkClient, open_socket, read_to_end

from store import schema
from tests.broker import mqtt_bytes as mqtt
from tests.broker.broker_process import BrokerProcess, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certificates import Authority, Certificate

    from local.valkey import EmbeddedValkey


@pytest.fixture(scope="module")
def strict(
    net_store: EmbeddedValkey,
    authority: Authority,
    server_certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BrokerProcess]:
    """TLS alone, with client certificates, all set as PEM text."""
    settings = {
        "REDIS_URL": net_store.url,
        "ALLOW_ANONYMOUS": "true",
        "TLS_CERT": server_certificate.certificate.read_text() + authority.own.certificate.read_text(),
        "TLS_KEY": server_certificate.key.read_text(),
        "TLS_CLIENT_CA": authority.own.certificate.read_text(),
        "TLS_CLIENT_CERT": "required",
        "ALLOW_PLAIN_TEXT": "false",
    }
    process = BrokerProcess(settings, tmp_path_factory.mktemp("strict") / "broker.log")
    process.start()
    yield process
    process.stop()


def is_let_in(broker: BrokerProcess, door: str, context: ssl.SSLContext) -> bool:
    try:
        with NetworkClient(broker, door, context) as client:
            client.send(mqtt.connect(4, f"tls-{door}"))
            return client.receive() == b"\x20\x02\x00\x00"
    except (ssl.SSLError, ConnectionError, EOFError):
        return False


def count(store: EmbeddedValkey, name: str) -> int:
    """Return what all nodes that live on `store` have counted, as their heartbeats tell it."""
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        nodes = cast("list[str]", client.zrange(schema.NODES, 0, -1))
        return sum(int(client.hget(schema.node_info(node), name) or 0) for node in nodes)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("door", ["tls", "wss"])
def test_a_required_certificate_lets_in(
    strict: BrokerProcess, authority: Authority, client_certificate: Certificate, door: str, version: ssl.TLSVersion
) -> None:
    context = authority.client_context(client_certificate)
    context.minimum_version = context.maximum_version = version
    assert is_let_in(strict, door, context)


def test_a_required_certificate_keeps_out(
    strict: BrokerProcess, authority: Authority, foreign_certificate: Certificate
) -> None:
    assert not is_let_in(strict, "tls", authority.client_context())
    assert not is_let_in(strict, "tls", authority.client_context(foreign_certificate))


def test_an_optional_certificate_may_be_missing_but_not_foreign(
    doors: BrokerProcess, authority: Authority, client_certificate: Certificate, foreign_certificate: Certificate
) -> None:
    assert is_let_in(doors, "tls", authority.client_context())
    assert is_let_in(doors, "tls", authority.client_context(client_certificate))
    assert not is_let_in(doors, "tls", authority.client_context(foreign_certificate))


def test_plain_text_can_be_refused(strict: BrokerProcess) -> None:
    with open_socket(strict) as connection:
        connection.sendall(mqtt.connect(4, "plain"))
        assert read_to_end(connection) == b""
    for request in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"):
        with open_socket(strict) as connection:
            connection.sendall(request)
            answer = read_to_end(connection)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"wss://" in answer
    with open_socket(strict) as connection:
        connection.sendall(b"P\x02\x00\x01")
        assert read_to_end(connection) == b""


def test_an_old_version_is_refused(doors: BrokerProcess) -> None:
    """A ClientHello that offers TLS 1.1 at most, by hand: OpenSSL would not send it."""
    hello = b"\x03\x02" + bytes(32) + b"\x00" + b"\x00\x02\xc0\x13" + b"\x01\x00" + b"\x00\x00"
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    with open_socket(doors) as connection:
        connection.sendall(b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake)
        answer = read_to_end(connection)
    assert answer[:1] == b"\x15"  # an alert
    assert answer[-1] == 70  # protocol_version (RFC 8446 §6.2)


def test_broken_handshakes_are_counted_and_not_logged(doors: BrokerProcess, net_store: EmbeddedValkey) -> None:
    before, counted = doors.log, count(net_store, "tls_failures")
    for _ in range(20):
        with open_socket(doors) as connection:
            connection.sendall(b"\x16\x03\x01\x00\x05hello and more that is no handshake")
            assert read_to_end(connection)[:1] == b"\x15"  # an alert
    eventually(lambda: count(net_store, "tls_failures") >= counted + 20, "a heartbeat with the count")
    assert doors.log == before


def test_garbage_behind_a_handshake_closes(doors: BrokerProcess, authority: Authority) -> None:
    """Inside TLS the same rules hold; TLS in TLS is not MQTT."""
    before = doors.log
    for data in (b"\x16\x03\x01\x00\x05hello", b"\xff\xff", b"P\x02\x00\x01"):
        with open_socket(doors, authority.client_context()) as connection:
            connection.sendall(data)
            assert read_to_end(connection) == b""
    assert doors.log == before


def test_a_client_hello_may_come_byte_by_byte(doors: BrokerProcess, authority: Authority) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname=doors.host)
    with open_socket(doors) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    connection.sendall(bytes([byte]))
                incoming.write(connection.recv(65536))
    assert tls.version() == "TLSv1.3"


def test_close_notify_ends_the_connection_both_ways(doors: BrokerProcess, authority: Authority) -> None:
    with open_socket(doors, authority.client_context()) as connection:
        connection.sendall(mqtt.connect(4, "polite"))
        assert connection.recv(100) == b"\x20\x02\x00\x00"
        assert isinstance(connection, ssl.SSLSocket)
        connection.unwrap().close()  # it raises where the broker does not answer close_notify with its own


def test_tls_is_off_without_a_certificate(start: Callable[..., BrokerProcess], authority: Authority) -> None:
    broker = start(TLS_CERT="", TLS_KEY="", TLS_CLIENT_CA="", TLS_CLIENT_CERT="none")
    assert not is_let_in(broker, "tls", authority.client_context())
    assert is_let_in(broker, "ws", authority.client_context())
