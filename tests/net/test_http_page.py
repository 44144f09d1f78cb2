"""Plain HTTP on the broker's port: a page for whoever pastes TCP_URL into a browser, short refusals for the rest."""

from __future__ import annotations

import http.client
import urllib.request
from typing import TYPE_CHECKING

import pytest
from network_client import open_socket, read_to_end

from broker.net.http_page import page
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from certificates import Authority

    from tests.broker.broker_process import BrokerProcess


def exchange(broker: BrokerProcess, request: bytes) -> bytes:
    with open_socket(broker) as connection:
        connection.sendall(request)
        return read_to_end(connection)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_is_told_what_this_is(doors: BrokerProcess, authority: Authority, scheme: str) -> None:
    context = authority.client_context() if scheme == "https" else None
    with urllib.request.urlopen(f"{scheme}://{doors.host}:{doors.port}/any", context=context, timeout=10) as answer:
        text = answer.read().decode()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
    for said in ("MQTT broker", f"mosquitto_pub -h HOST -p {doors.port}", "dashboard is elsewhere", "wss://"):
        assert said in text


def test_the_page_names_the_public_address() -> None:
    text = page("tcp://tcp-1.example.com:20003", 5000, has_tls=False)
    assert "mosquitto_pub -h tcp-1.example.com -p 20003 -u device" in text
    assert "ws://tcp-1.example.com:20003/" in text
    assert "-h HOST -p 5000" in page("tcp://[bad", 5000, has_tls=False)


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "HEAD"])
def test_other_methods_are_not_allowed(doors: BrokerProcess, method: str) -> None:
    connection = http.client.HTTPConnection(doors.host, doors.port, timeout=10)
    connection.request(method, "/")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert bool(answer.read()) == (method != "HEAD")
    connection.close()


def test_a_request_may_come_byte_by_byte(doors: BrokerProcess) -> None:
    with open_socket(doors) as connection:
        for byte in b"GET / HTTP/1.0\r\nUpgrade: h2c\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_head_has_a_bound(doors: BrokerProcess) -> None:
    fits = b"GET / HTTP/1.1\r\nX: " + b"x" * 8000
    assert exchange(doors, fits + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert exchange(doors, fits + b"x" * 200).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "fields", [b"", b"Sec-WebSocket-Key: short\r\n", b"Content-Length: 3\r\n", b"bad line\r\n"], ids=repr
)
def test_a_bad_upgrade_is_refused(doors: BrokerProcess, fields: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + fields
    assert exchange(doors, head + b"\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("data", [b"P\x02\x00\x01", b"SSH-2.0-x\r\n", b"A" * 30, b"\x00", b"\xff" * 9])
def test_what_is_neither_is_closed_without_a_word(doors: BrokerProcess, data: bytes) -> None:
    before = doors.log
    assert exchange(doors, data) == b""
    eventually(lambda: doors.log == before, "no line about it")
