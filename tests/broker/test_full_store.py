"""Redis fills up: history goes first, then messages are refused; nothing acknowledged is lost, and service comes back."""

from __future__ import annotations

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


def test_retained_messages_leave_the_store_its_room(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """They get an eighth of it. What is beyond is stored and acknowledged, but not retained; clearing makes room again."""
    process = start_broker()
    large = b"x" * 100_000

    def retain(publisher: RawClient, number: int, payload: bytes) -> None:
        publisher.send(mqtt.publish(5, f"r/{number}", payload, qos=1, retain=True, packet_id=number + 1))
        publisher.receive(mqtt.PUBACK, deadline_s=DEADLINE_S)

    with RawClient(process.host, process.port) as publisher, redis.Redis.from_url(store.url) as client:
        publisher.connect("retainer")
        many = MAX_BYTES // len(large)
        for number in range(many):
            retain(publisher, number, large)
        kept = client.hlen(schema.RETAINED)
        assert 0 < kept * len(large) <= MAX_BYTES // 8
        assert int(client.hget(schema.ACCOUNTS, "retained")) >= kept * len(large)
        for number in range(many):
            retain(publisher, number, b"")
        assert client.hlen(schema.RETAINED) == client.zcard(schema.RETAINED_INDEX) == 0
        assert int(client.hget(schema.ACCOUNTS, "retained")) == 0
        retain(publisher, 0, large)
        assert client.hlen(schema.RETAINED) == 1
    assert "Traceback" not in process.log


def test_what_frees_memory_goes_on_while_messages_wait(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """CONNECT, UNSUBSCRIBE, acknowledgements and ends of sessions are stored although the store is over its limit."""
    process = start_broker()

    def client() -> RawClient:
        return RawClient(process.host, process.port, 4)

    with client() as publisher, redis.Redis.from_url(store.url) as redis_client:
        with client() as sleeper:
            sleeper.connect("sleeper", clean=False)
            sleeper.subscribe(("q", 1))
        publisher.connect("publisher")
        publisher.publish("q", b"queued", qos=1)
        redis_client.config_set("maxmemory", redis_client.info("memory")["used_memory"] // 2)
        publisher.send(mqtt.publish(4, "q", b"waits", qos=1, packet_id=9))
        eventually(lambda: process.log.count("is full") or None, "the store is full", DEADLINE_S)
        with client() as sleeper:
            sleeper.connect("sleeper", clean=False)
            assert sleeper.receive_publish(deadline_s=DEADLINE_S).payload == b"queued"
            eventually(lambda: not redis_client.xlen(schema.queue("sleeper")), "the queue is empty", DEADLINE_S)
            sleeper.unsubscribe("q")
        with client() as sleeper:
            sleeper.connect("sleeper", clean=True)
            eventually(lambda: not redis_client.exists(schema.session("sleeper")), "the session ended", DEADLINE_S)
        publisher.expect_nothing(0.1)
        redis_client.config_set("maxmemory", 10 * MAX_BYTES)
        publisher.receive(mqtt.PUBACK, deadline_s=DEADLINE_S)
    assert "Traceback" not in process.log
