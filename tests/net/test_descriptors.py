"""The system's limit of open files: connections beyond it are closed at once, one log line says so, and the process goes on."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING

import redis
from network_client import open_socket

from broker.net.descriptors import LOG_INTERVAL_S, RESERVED, DescriptorLimit
from store import schema
from tests.broker import mqtt_bytes as mqtt
from tests.broker.broker_process import BrokerProcess, eventually

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import pytest

LIMIT = 128
CONNECTIONS = 100


def answers(connection: socket.socket, number: int) -> bool:
    with contextlib.suppress(ConnectionError):
        connection.sendall(mqtt.connect(4, f"client-{number}"))
        return connection.recv(4)[:1] == b"\x20"
    return False


def refused(broker: BrokerProcess) -> int:
    with redis.Redis.from_url(broker.store_url) as client:
        nodes = client.zrange(schema.NODES, 0, -1)
        counts = [int(client.hget(schema.node_info(each.decode()), "descriptors_refused") or 0) for each in nodes]
    return max(counts)


def test_connections_beyond_the_limit_are_closed_and_counted(start: Callable[..., BrokerProcess]) -> None:
    broker = start()
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    with contextlib.ExitStack() as opened:
        served = [answers(opened.enter_context(open_socket(broker)), number) for number in range(CONNECTIONS)]
        assert served == [True] * (LIMIT - RESERVED) + [False] * (CONNECTIONS - LIMIT + RESERVED)
        eventually(lambda: refused(broker) == CONNECTIONS - LIMIT + RESERVED, "they are counted")
        assert broker.log.count("open files") == 1
        assert "Traceback" not in broker.log
    for number in range(10):
        with open_socket(broker) as later:
            eventually(
                lambda later=later, number=number: answers(later, number), "others are served when these are gone"
            )
    assert broker.is_running
    assert broker.log.count("open files") == 1


def test_one_log_line_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LIMIT, LIMIT))
    now = [0.0]
    limit = DescriptorLimit(lambda: now[0])
    assert limit.admits(LIMIT - RESERVED)
    for _ in range(100):
        assert not limit.admits(LIMIT - RESERVED + 1)
    assert len(caplog.records) == 1
    now[0] = LOG_INTERVAL_S
    assert not limit.admits(LIMIT - RESERVED + 1)
    assert len(caplog.records) == 2
    assert limit.refused == 101


def test_the_limit_is_raised_as_far_as_the_system_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    DescriptorLimit(lambda: 0.0).allow(100)
    assert limits == [(1024, 4096)]
    DescriptorLimit(lambda: 0.0).allow(2000)
    assert limits[-1] == (2000 + RESERVED, 4096)
    DescriptorLimit(lambda: 0.0).allow(10_000)
    assert limits[-1] == (4096, 4096)
