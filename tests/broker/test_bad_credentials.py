"""Bad credentials are answered late, counted and logged; right ones are never held up by them (promises 4 and 6)."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import psutil
import pytest
import redis
from broker_process import eventually
from raw import RawClient

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker_process import BrokerProcess

CREDENTIALS = {"ALLOW_ANONYMOUS": "false", "MQTT_USERNAME": "device", "MQTT_PASSWORD": "right-password"}
RIGHT = {"username": "device", "password": "right-password"}
STORM = 2000
MOST_WAITING = 256


@contextlib.contextmanager
def _at(process: BrokerProcess, version: int = 4) -> Iterator[RawClient]:
    with RawClient(process.host, process.port, version) as client:
        yield client


def _connect_s(process: BrokerProcess, username: str | None, password: str | None, expected: int) -> float:
    """Return how long a CONNECT takes to its answer."""
    with _at(process) as client:
        began = time.monotonic()
        assert client.connect("any", username=username, password=password).code == expected
        return time.monotonic() - began


def _attempt(process: BrokerProcess, username: str, password: str = "wrong") -> socket.socket:
    """Send a CONNECT and do not wait for the answer."""
    attempt = socket.create_connection((process.host, process.port))
    attempt.sendall(mqtt.connect(4, secrets.token_hex(8), username=username, password=password))
    return attempt


def _ended_early(attempts: list[socket.socket]) -> int:
    """Return how many connections the server has closed without a word."""
    ended = 0
    for each in attempts:
        each.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            try:
                ended += each.recv(100) == b""
            except ConnectionResetError:
                ended += 1
    return ended


def test_refusals_of_one_user_name_wait_and_nobody_else_does(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(**CREDENTIALS)
    assert _connect_s(process, "device", "wrong", 4) < 2
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(_attempt(process, "device"))
        eventually(lambda: "Credentials refused" in process.log, "a line")
        began = time.monotonic()
        late = _connect_s(process, "device", "wrong", 4)
        assert late > 2  # so often its user name was refused
        assert _connect_s(process, "device", "right-password", 0) < late / 2
        assert _connect_s(process, "other", "wrong", 4) < late / 2
        assert time.monotonic() - began < 9
    assert process.terminate() == 0


def test_what_is_refused_is_counted_and_logged_once_a_minute(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(**CREDENTIALS)
    evil = "evil\u202e" + "x" * 300
    with contextlib.ExitStack() as stack:
        for username in [*["device"] * 5, *["admin"] * 3, evil]:
            stack.enter_context(_attempt(process, username, "secret-guess"))
        assert _connect_s(process, None, None, 5) < 9
        operator = stack.enter_context(_at(process))
        operator.connect("operator", **RIGHT)
        operator.subscribe(("$SYS/broker/credentials/#", 0))
        values: dict[str, int] = {}
        while values.get("refused/not_authorized") != 1:  # published every ten seconds
            publish = operator.receive_publish(deadline_s=20)
            values[publish.topic.removeprefix("$SYS/broker/credentials/")] = int(publish.payload)
        assert (values["refused"], values["refused/bad_user_name_or_password"]) == (10, 9)
    with redis.Redis.from_url(process.store_url) as store:
        (node,) = store.zrange(schema.NODES, 0, -1)
        info = schema.node_info(node.decode())
        eventually(lambda: store.hget(info, "credentials_refused") == b"10", "a heartbeat with the count")
    lines = [line for line in process.log.splitlines() if "Credentials refused" in line]
    assert len(lines) == 1
    assert '"device" (' in lines[0]
    assert "secret-guess" not in process.log
    assert "\u202e" not in process.log
    assert "x" * 100 not in process.log


@pytest.mark.parametrize("usernames", ["one", "many"])
def test_a_storm_of_bad_credentials_holds_up_nobody(start_broker: Callable[..., BrokerProcess], usernames: str) -> None:
    process = start_broker(**CREDENTIALS)
    puback_s, connect_s, attempts = [0.0], [0.0], []
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(_at(process))
        bystander.connect("bystander", **RIGHT)
        began = time.monotonic()
        for number in range(STORM):
            username = "device" if usernames == "one" else f"user-{number}"
            attempts.append(stack.enter_context(_attempt(process, username)))
            if number % 20 == 0:
                sent = time.monotonic()
                bystander.publish("t", b"x", qos=1)
                puback_s.append(time.monotonic() - sent)
            if number % 100 == 0:
                connect_s.append(_connect_s(process, "device", "right-password", 0))
        eventually(lambda: _connections(process) < MOST_WAITING + 20, "few refusals wait", 5)
        assert time.monotonic() - began < 20
        assert _ended_early(attempts) > STORM / 2
    assert max(puback_s) < 1
    assert max(connect_s) < 1
    assert "Traceback" not in process.log


def _connections(process: BrokerProcess) -> int:
    return len(psutil.Process(process.pid).net_connections("tcp"))


SLOW_PLUGIN = """
    import time
    from amqtt.plugins.base import BaseAuthPlugin

    class Slow(BaseAuthPlugin):
        async def authenticate(self, *, session):
            time.sleep(0.02)  # as hashing does
            return session.password == "right-password"
"""
SLOW_CONFIG = "plugins: {users_plugins.Slow: {}}"


def test_bad_credentials_cannot_keep_slow_plugins_busy(start_with_plugins: Callable[..., BrokerProcess]) -> None:
    """500 of them take the plugin 10 s. Who was let in before is asked about first."""
    process = start_with_plugins(SLOW_CONFIG, SLOW_PLUGIN)
    assert _connect_s(process, "device", "right-password", 0) < 5
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(_at(process))
        bystander.connect("bystander", **RIGHT)
        for _ in range(500):
            stack.enter_context(_attempt(process, "device"))
        sent = time.monotonic()
        bystander.publish("t", b"x", qos=1)
        assert time.monotonic() - sent < 1
        assert _connect_s(process, "device", "right-password", 0) < 3  # behind 16 that are asked about
        eventually(lambda: "Credentials refused" in process.log, "some are refused")
        assert _connect_s(process, "device", "right-password", 0) < 1
        assert _connect_s(process, "new-device", "right-password", 0) < 3
    assert "Traceback" not in process.log
