"""No client slows another, and none makes the broker grow (promises 4 and 5)."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
only_4 = pytest.mark.parametrize("version", [4], ids=["3.1.1"])


def _descriptors(process: BrokerProcess) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def _resident_bytes(process: BrokerProcess) -> int:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * 4096


def _probe(process: BrokerProcess, number: int) -> None:
    with socket.create_connection((process.host, process.port)) as probe:
        if number % 2:  # half of them end as a load balancer's checks do: with RST
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


@only_4
def test_bare_probes_leave_nothing(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker()
    client(name(), at=process).ping()
    eventually(lambda: bool(process.log), "the line that says the broker started")
    lines, descriptors, memory = process.log.count("\n"), _descriptors(process), _resident_bytes(process)
    for number in range(1000):
        _probe(process, number)
    eventually(lambda: _descriptors(process) <= descriptors, "as few descriptors as before the probes")
    client(name(), at=process).ping()
    assert process.log.count("\n") <= lines + 2  # the client that came after may be logged, a probe not
    assert _resident_bytes(process) - memory < 8_000_000


@only_4
def test_closed_connections_leave_nothing(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker()
    client(name(), at=process).ping()
    descriptors = _descriptors(process)
    for number in range(200):
        each = client(name(), at=process)
        each.subscribe(("t/#", 1))
        each.close() if number % 2 else each.disconnect()
    eventually(lambda: _descriptors(process) <= descriptors, "as few descriptors as before")


def _said_by_heartbeat(process: BrokerProcess, counter: str) -> int:
    with redis.Redis.from_url(process.store_url) as client:
        (node,) = client.zrange(schema.NODES, 0, -1)
        return int(client.hget(schema.node_info(node.decode()), counter) or 0)


def test_a_slow_subscriber_slows_nobody(
    start_broker: Callable[..., BrokerProcess],
    open_client: Callable[..., RawClient],
    client: Callable[..., RawClient],
    name: Callable[[], str],
    version: int,
) -> None:
    """A subscriber that never reads is bounded and then dropped; another gets every message meanwhile."""
    process = start_broker(SEND_BUFFER_BYTES="65536", SEND_TIMEOUT_S="1")
    frozen = open_client(process, receive_buffer_bytes=4096)
    assert frozen.connect(name()).code == 0
    frozen.subscribe(("t", 0))
    fast, publisher = client(name(), at=process), client(name(), at=process)
    fast.subscribe(("t", 1))
    memory = _resident_bytes(process)
    for number in range(2000):
        publisher.publish("t", b"%6d" % number + b"x" * 8000, qos=1)
        assert int(fast.receive_publish(deadline_s=5).payload[:6]) == number
    assert _resident_bytes(process) - memory < 32_000_000
    eventually(
        lambda: _said_by_heartbeat(process, "slow_clients_dropped") == 1, "who never reads is dropped, and counted"
    )
    received = [packet.type for packet in frozen.receive_until_closed()]
    assert len(received) < 2000
    assert set(received) <= {mqtt.PUBLISH, mqtt.DISCONNECT}


def test_a_session_that_is_too_slow_keeps_its_messages(
    start_broker: Callable[..., BrokerProcess],
    open_client: Callable[..., RawClient],
    client: Callable[..., RawClient],
    name: Callable[[], str],
    version: int,
) -> None:
    process = start_broker(SEND_BUFFER_BYTES="65536", SEND_TIMEOUT_S="1", QUEUE_BYTES="10000000", SEND_WINDOW="20")
    lasting: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []}
    client_id = name()
    frozen = open_client(process, receive_buffer_bytes=4096)
    frozen.connect(client_id, **lasting)
    frozen.subscribe(("t", 1))
    publisher = client(name(), at=process)
    for number in range(200):
        publisher.publish("t", b"%6d" % number + b"x" * 8000, qos=1)
    frozen.close()
    back = client(client_id, at=process, **lasting)
    received = [int(back.receive_publish().payload[:6]) for _ in range(200)]
    assert received == list(range(200))


@only_4
def test_a_subscriber_that_never_acknowledges_is_bounded(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], name: Callable[[], str]
) -> None:
    process = start_broker(SEND_WINDOW="10", QUEUE_MESSAGES="100", QUEUE_BYTES="1000000")
    mute, publisher = client(name(), at=process), client(name(), at=process)
    mute.subscribe(("t", 1))
    memory = _resident_bytes(process)
    for _ in range(3000):
        publisher.publish("t", b"x" * 8000, qos=1)
    assert _resident_bytes(process) - memory < 16_000_000
    eventually(lambda: _said_by_heartbeat(process, "messages_dropped") == 3000 - 110, "what overflows is counted")
    mute.ping()
