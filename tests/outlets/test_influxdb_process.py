"""InfluxDB beside a running broker: what was acknowledged arrives, and InfluxDB never stands in the way."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.publish
import pytest
import redis
from broker_process import HOST, BrokerProcess, eventually
from influxdb_server import ADMIN, InfluxDBServer

import settings as application_settings
from store.outlet_state import OutletState, outlet_states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "fleet"
KIB = 1024
DEADLINE_S = 60.0


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxDBServer]:
    """A server that is not started yet."""
    server = InfluxDBServer(tmp_path / "influxdb")
    yield server
    server.kill()


@pytest.fixture
def environ(redis_url: str, influxdb: InfluxDBServer) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "ALLOW_ANONYMOUS": "true",
        "INFLUX_URL": f"http://{':'.join(ADMIN)}@{HOST}:{influxdb.port}/{DATABASE}",
    }


def publish(broker: BrokerProcess, *documents: dict[str, Any]) -> None:
    """Return when the broker has acknowledged all."""
    messages = [{"topic": f"devices/d{each['n'] % 3}/up", "payload": json.dumps(each), "qos": 1} for each in documents]
    paho.mqtt.publish.multiple(messages, HOST, broker.port)


def state(environ: dict[str, str]) -> OutletState:
    settings = application_settings.load(environ, "tcp")
    with redis.Redis.from_url(settings.redis_url) as store:
        (only,) = outlet_states(store, settings, time.time_ns() // 1_000_000)
    return only


def numbers(influxdb: InfluxDBServer) -> list[int]:
    return sorted(row["n"] for row in influxdb.rows(DATABASE))


def test_what_was_acknowledged_arrives_once_whoever_is_killed(
    influxdb: InfluxDBServer, environ: dict[str, str], tmp_path: Path
):
    influxdb.start()
    broker = BrokerProcess(environ, tmp_path / "broker.log")
    broker.start()
    try:
        publish(broker, *({"n": n} for n in range(50)))
        eventually(lambda: numbers(influxdb) == list(range(50)), "the first points", DEADLINE_S)
        influxdb.kill()
        publish(broker, *({"n": n} for n in range(50, 100)))
        eventually(lambda: "gives no answer" in state(environ).error, "the outage is said", DEADLINE_S)
        broker.restart()
        publish(broker, *({"n": n} for n in range(100, 150)), {"n": 0, "other": 1})
        influxdb.start()
        eventually(lambda: state(environ).written == 151, "all is written", DEADLINE_S)
        assert numbers(influxdb) == sorted([0, *range(150)])
        publish(broker, {"n": 1, "other": "of another type"}, {"n": 150})
        eventually(lambda: state(environ).lost == 1, "the refused point is counted", DEADLINE_S)
        assert numbers(influxdb)[-1] == 150
        assert state(environ).error == ""
    finally:
        broker.kill()


def test_while_influxdb_is_away_the_broker_goes_on_and_counts_what_it_misses(
    influxdb: InfluxDBServer, environ: dict[str, str], tmp_path: Path
):
    environ |= {"LOG_MAX_BYTES": str(1024 * KIB), "LOG_KEEP_BYTES": str(64 * KIB)}
    broker = BrokerProcess(environ, tmp_path / "broker.log")
    broker.start()
    try:
        for start in range(0, 300, 20):  # 3 MB: three times what the log may hold
            publish(broker, *({"n": n, "text": "x" * 10_000} for n in range(start, start + 20)))
        eventually(lambda: state(environ).lost > 150, "what goes by is counted", DEADLINE_S)
        influxdb.start()
        eventually(lambda: state(environ).written + state(environ).lost == 300, "the rest is written", DEADLINE_S)
        written = state(environ).written
        assert written > 10
        assert numbers(influxdb) == list(range(300 - written, 300))
    finally:
        broker.kill()
