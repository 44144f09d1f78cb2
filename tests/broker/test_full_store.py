"""Redis fills up: history goes first, then messages are refused; nothing acknowledged is lost, and service comes back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually
from raw import RawClient
from stored_messages import views

from local.valkey import EmbeddedValkey
from store import schema
from store.memory import SHED_ABOVE
from store.retention_state import NOTHING, retention_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broker_process import BrokerProcess

MIB = 1024 * 1024
MAX_BYTES = 24 * MIB
DEVICES = 20
SIZE = 10_000
BATCH = 100
STEADY = 50
"""What is sent at once where it may not fill the store: in log, history and buffers a tenth of what Redis may hold."""
DEADLINE_S = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that may use MAX_BYTES and throws nothing away."""
    options = ("--maxmemory", str(MAX_BYTES), "--maxmemory-policy", "noeviction")
    server = EmbeddedValkey(tmp_path / "store", options=options)
    server.start()
    yield server
    server.stop()


def _payload(number: int) -> bytes:
    return b'{"n": %d, "text": "%s"}' % (number, b"x" * SIZE)


def _send(publisher: RawClient, numbers: range) -> None:
    publisher.send(
        b"".join(mqtt.publish(4, f"devices/d{n % DEVICES}/t", _payload(n), qos=1, packet_id=n + 1) for n in numbers)
    )


def _await_pubacks(publisher: RawClient, count: int) -> None:
    for _ in range(count):
        publisher.receive(mqtt.PUBACK, deadline_s=DEADLINE_S)


def _await_state(watcher: RawClient, state: bytes) -> None:
    """Read on until the broker says that the store's state is this: it says it again and again, changed or not."""
    eventually(
        lambda: watcher.receive_publish(deadline_s=DEADLINE_S).payload.startswith(state), state.decode(), DEADLINE_S
    )


def _fill(client: redis.Redis) -> str:
    """Put something of somebody else's where there is room, and return what is shed for it."""
    while client.info("memory")["used_memory"] < 0.99 * MAX_BYTES:
        client.rpush("ballast", b"x" * 100_000)
    return retention_state(client).shedding


def test_under_steady_load_old_history_goes_and_acknowledging_never_stops(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """Three times what Redis may hold, no faster than the views follow and shedding makes room."""
    process = start_broker()
    with (
        RawClient(process.host, process.port, 4) as publisher,
        views(store.url) as query,
        redis.Redis.from_url(store.url) as client,
    ):
        publisher.connect("steady")
        for first in range(0, 3 * MAX_BYTES // SIZE, STEADY):
            eventually(lambda: client.info("memory")["used_memory"] <= SHED_ABOVE * MAX_BYTES, "room", DEADLINE_S)
            _send(publisher, range(first, first + STEADY))
            _await_pubacks(publisher, STEADY)
            eventually(lambda sent=first + STEADY: query.fleet().messages == sent, "shown", DEADLINE_S)  # type: ignore[misc]
        newest = {row.payload for n in range(DEVICES) for row in query.messages(f"d{n}", limit=1).rows}
        assert newest == {_payload(first + STEADY - 1 - n) for n in range(DEVICES)}
        state = query.retention()  # before the rows: of them more may go meanwhile, and then they are only newer
        oldest_ms = min(query.messages(f"d{n}", limit=1000).rows[-1].ts_ms for n in range(DEVICES))
    assert state.shedding
    assert state.messages > 0
    assert state.reaches_ms <= oldest_ms + 1000  # what is left is what it says; a chunk is as old as its first message
    assert "is full" not in process.log
    assert "refuses" not in process.log
    assert process.log.count("old history goes") == 1


def test_what_is_shed_makes_room_where_the_limit_is_lowered(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """Redis is over its limit all at once: the views go on, and are right, with the history that fits."""
    process = start_broker()
    with RawClient(process.host, process.port, 4) as publisher, redis.Redis.from_url(store.url) as client:
        publisher.connect("lowered")
        for first in range(0, 12 * BATCH, BATCH):
            _send(publisher, range(first, first + BATCH))
            _await_pubacks(publisher, BATCH)
        client.config_set("maxmemory", 10 * MIB)
        _send(publisher, range(12 * BATCH, 13 * BATCH))
        _await_pubacks(publisher, BATCH)
        eventually(lambda: client.info("memory")["used_memory"] < 8 * MIB, "room", DEADLINE_S)
        with views(store.url) as query:
            eventually(lambda: query.fleet().messages == 13 * BATCH, "the views show all", DEADLINE_S)
            for n in range(DEVICES):
                device = query.device(f"d{n}")
                assert device is not None
                assert device.messages == 13 * BATCH // DEVICES
                assert device.values["n"].value == 13 * BATCH - DEVICES + n
    assert "Traceback" not in process.log


@pytest.mark.parametrize("by", ["maxmemory", "STORE_BYTES"])
def test_a_full_store_is_waited_for(start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, by: str) -> None:
    """Promises 1, 2 and 10: with nothing left to shed nothing is acknowledged, whatever was is there, and all comes back."""
    setting = {"STORE_BYTES": str(MAX_BYTES)} if by == "STORE_BYTES" else {}
    with redis.Redis.from_url(store.url) as client, views(store.url, **setting) as query:
        if setting:
            client.config_set("maxmemory", 0)
        process = start_broker(**setting)
        with RawClient(process.host, process.port, 4) as publisher, RawClient(process.host, process.port, 4) as watcher:
            watcher.connect("watcher")
            watcher.subscribe("$SYS/broker/store/state")
            assert watcher.receive_publish().payload == b"ok"
            publisher.connect("patient")
            _send(publisher, range(BATCH))
            _await_pubacks(publisher, BATCH)
            eventually(lambda: query.fleet().messages == BATCH, "shown", DEADLINE_S)
            eventually(lambda: _fill(client) == NOTHING and query.readiness() == "store_full", "it is full", DEADLINE_S)
            eventually(lambda: "The store is full" in process.log, "a line about it", DEADLINE_S)
            _send(publisher, range(BATCH, 3 * BATCH))
            publisher.expect_nothing(2)
            _await_state(watcher, b"full")
            assert query.nodes(), "the broker is shown as alive"
            client.delete("ballast")
            _await_pubacks(publisher, 2 * BATCH)
            assert publisher.publish("devices/d0/t", b"after", qos=1) == 0
            _await_state(watcher, b"ok")
            eventually(lambda: query.fleet().messages == 3 * BATCH + 1, "nothing is lost", DEADLINE_S)
            eventually(lambda: query.readiness() == "ready", "ready again", DEADLINE_S)
    assert "has room again" in process.log
    assert "Traceback" not in process.log


def test_retained_messages_that_fill_the_store_are_refused_not_lost(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """Nobody sheds what is retained: where that is all there is, publishers wait; raising the limit lets them go on."""
    process = start_broker(RETAINED_MESSAGES="100000")
    large = b"x" * 100_000
    with RawClient(process.host, process.port) as publisher, redis.Redis.from_url(store.url) as client:
        publisher.connect("retainer")

        def is_retained(number: int) -> bool:
            publisher.send(mqtt.publish(5, f"r/{number}", large, qos=1, retain=True, packet_id=number + 1))
            while True:
                with contextlib.suppress(TimeoutError):
                    publisher.receive(mqtt.PUBACK, deadline_s=2)
                    return True
                if "is full" in process.log and retention_state(client).shedding == NOTHING:
                    return False

        acknowledged = next(number for number in range(2 * MAX_BYTES // len(large)) if not is_retained(number))
        assert acknowledged == client.hlen(schema.RETAINED) > 0
        client.config_set("maxmemory", 10 * MAX_BYTES)
        publisher.receive(mqtt.PUBACK, deadline_s=DEADLINE_S)
        assert client.hlen(schema.RETAINED) == acknowledged + 1
    assert "Traceback" not in process.log
