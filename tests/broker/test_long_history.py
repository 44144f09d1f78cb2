"""MongoDB beside a broker: everything acknowledged gets there, also when it was away until publishers were slowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import psutil
import pymongo
import pytest
import redis
from broker_process import eventually
from raw import RawClient

from local.mongodb import EmbeddedMongoDB
from store import schema
from store.mongo import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from broker_process import BrokerProcess
    from pymongo import MongoClient

    from local.valkey import EmbeddedValkey

DEADLINE_S = 60
SILENCE_S = 4.0  # nothing is acknowledged any more: several times what a look at the log takes
MOST_BURSTS = 1000
LOG_MAX_BYTES = 1024 * 1024


@pytest.fixture
def mongodb(tmp_path: Path) -> Iterator[EmbeddedMongoDB]:
    """A MongoDB for this test alone, not started."""
    server = EmbeddedMongoDB(tmp_path / "mongodb")
    yield server
    server.stop()


def burst(number: int) -> list[bytes]:
    """Return payloads of 200 kB together, no two the same."""
    return [b"%d-%d-" % (number, each) + bytes(10_000) for each in range(20)]


def send(publisher: RawClient, payloads: list[bytes]) -> None:
    publisher.send(
        b"".join(
            mqtt.publish(4, f"devices/d{n % 3}/t", each, qos=1, packet_id=n + 1) for n, each in enumerate(payloads)
        )
    )


def await_pubacks(publisher: RawClient, payloads: list[bytes], count: int, deadline_s: float) -> list[bytes]:
    """Return those of a burst that are acknowledged next, each within a deadline: `count` of them, if they come."""
    acknowledged: list[bytes] = []
    while len(acknowledged) < count:
        try:
            puback = publisher.receive(mqtt.PUBACK, deadline_s=deadline_s)
        except TimeoutError:
            break
        acknowledged.append(payloads[mqtt.read_acknowledgement(4, puback).packet_id - 1])
    return acknowledged


def test_mongodb_away_slows_publishers_and_loses_nothing(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, mongodb: EmbeddedMongoDB
) -> None:
    process = start_broker(MONGO_URL=f"{mongodb.url}/test", LOG_MAX_BYTES=str(LOG_MAX_BYTES), LOG_KEEP_BYTES="65536")
    acknowledged: list[bytes] = []
    with RawClient(process.host, process.port, 4) as publisher, redis.Redis.from_url(store.url) as client:
        publisher.connect("flood")
        for number in range(MOST_BURSTS):
            payloads = burst(number)
            send(publisher, payloads)
            before = await_pubacks(publisher, payloads, len(payloads), SILENCE_S)
            acknowledged += before
            if len(before) < len(payloads):
                break
        else:
            pytest.fail("the publisher was never slowed")
        assert len(acknowledged) * 10_000 > LOG_MAX_BYTES / 2
        error = b"ServerSelectionTimeoutError: 127.0.0.1:%d" % mongodb.port
        eventually(
            lambda: (client.hget(schema.outlet("mongodb"), "error") or b"").startswith(error), "it says why", DEADLINE_S
        )
        mongodb.start()
        acknowledged += await_pubacks(publisher, payloads, len(payloads) - len(before), DEADLINE_S)
        assert sorted(acknowledged[-len(payloads) :]) == sorted(payloads)
        mongo: MongoClient[dict[str, Any]]
        with pymongo.MongoClient(mongodb.url) as mongo:
            messages = mongo["test"][MESSAGES]
            eventually(lambda: messages.count_documents({}) == len(acknowledged), "all are in MongoDB", DEADLINE_S)
            assert {found["payload"].encode() for found in messages.find()} == set(acknowledged)
        eventually(
            lambda: (client.memory_usage(schema.LOG, samples=0) or 0) < LOG_MAX_BYTES / 2, "the log is cut", DEADLINE_S
        )
    assert process.terminate() == 0
    assert "Traceback" not in process.log


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("mongo_url", ["", "mongodb://127.0.0.1:1/test"])
def test_one_process_has_the_outlets_if_there_are_any(
    start_broker: Callable[..., BrokerProcess], workers: str, mongo_url: str
) -> None:
    process = start_broker(MONGO_URL=mongo_url, BROKER_WORKERS=workers)
    expected = sorted(["projector", *(["outlets"] if mongo_url else [])])
    eventually(lambda: beside(process) == expected, f"{expected} run beside the broker", DEADLINE_S)
    eventually(lambda: process.log.count("Listening on") == int(workers), "all listen", DEADLINE_S)
    family = psutil.Process(process.pid).children(recursive=True)
    assert beside(process) == expected
    assert process.terminate() == 0
    eventually(lambda: not any(each.is_running() for each in family), "no process is left", DEADLINE_S)


def beside(process: BrokerProcess) -> list[str]:
    """Return which modules run beside a broker and its workers."""
    lines = ["".join(each.cmdline()[-1:]) for each in psutil.Process(process.pid).children(recursive=True)]
    return sorted(module.removeprefix("broker.") for module in lines if module.startswith("broker."))
