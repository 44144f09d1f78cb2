"""The measurements: each takes a running broker and returns one figure."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from bench.brokers import ROOT, Broker, Ours
from store import schema
from store.model import MessageId

if TYPE_CHECKING:
    from collections.abc import Callable

CATCH_UP_DEADLINE_S = 300
IDLE_CONNECTIONS = 1_000
PACED_PER_S = 2_000
SETTLE_S = 1.0
SPARE_S = 90.0  # for a load client to connect and to end, at most
VISITORS = 20  # at once


class NotMeasuredError(RuntimeError):
    """The figure would mean nothing: messages were lost, or nobody answered."""


@dataclass(frozen=True)
class Measurement:
    """One row: what, its unit, how, whether more is better, and for which brokers."""

    key: str
    title: str
    unit: str
    run: Callable[[Broker, float], float]
    is_more_better: bool = True
    only: tuple[type[Broker], ...] = (Broker,)


def _load(
    scenario: str, broker: Broker, seconds: float, *numbers: int, when_ready: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Run the load client; `when_ready` is called when what it counts begins. Raises NotMeasuredError."""
    with _client(scenario, broker, seconds, *numbers) as client:
        assert client.stdout is not None
        bound = threading.Timer(seconds + SPARE_S, client.kill)
        bound.start()
        client.stdout.readline()
        when_ready()
        output, errors = client.communicate()
        bound.cancel()
    if client.returncode:
        raise NotMeasuredError(errors.strip().splitlines()[-1] if errors.strip() else "load client failed")
    counted: dict[str, Any] = json.loads(output)
    if counted.get("stalled"):
        raise NotMeasuredError("messages were lost")
    if counted.get("unanswered"):
        raise NotMeasuredError(f"{counted['unanswered']} messages were not acknowledged")
    return counted


def _acknowledged(connections: int, in_flight: int) -> Callable[[Broker, float], float]:
    return lambda broker, seconds: float(_load("acknowledged", broker, seconds, connections, in_flight)["per_s"])


def _fan_out(publishers: int, subscribers: int) -> Callable[[Broker, float], float]:
    return lambda broker, seconds: float(_load("fan_out", broker, seconds, publishers, subscribers)["per_s"])


def _client(scenario: str, broker: Broker, seconds: float, *numbers: int) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "bench.load", scenario, str(broker.port), str(seconds), *map(str, numbers)]
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _cpu_us(scenario: str, *numbers: int) -> Callable[[Broker, float], float]:
    """Of broker and store, for each that is counted; without what it takes to get there."""

    def measure(broker: Broker, seconds: float) -> float:
        before: list[float] = []
        counted = _load(scenario, broker, seconds, *numbers, when_ready=lambda: before.append(broker.cpu_s()))
        return (broker.cpu_s() - before[0]) / float(counted["counted"]) * 1e6

    return measure


def _resting_ms(broker: Broker, seconds: float) -> float:
    time.sleep(SETTLE_S)
    before = broker.cpu_s()
    time.sleep(seconds)
    return (broker.cpu_s() - before) / seconds * 1e3


def _idle_bytes(broker: Broker, _seconds: float) -> float:
    before = broker.resident_bytes()
    with _client("idle", broker, SETTLE_S, IDLE_CONNECTIONS) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            raise NotMeasuredError("not every connection was accepted")
        grown = broker.resident_bytes() - before
        holder.communicate()
    return grown / IDLE_CONNECTIONS


def _sustained(broker: Broker, seconds: float) -> float:
    """Messages over the time of the load and of the projector's catching up, so that no lag is hidden."""
    assert isinstance(broker, Ours)
    counted = _load("acknowledged", broker, seconds, 10, 20)
    loaded_at = time.perf_counter()
    with redis.Redis.from_url(broker.store.url) as client:
        while not _is_projected(client):
            if time.perf_counter() - loaded_at > CATCH_UP_DEADLINE_S:
                raise NotMeasuredError("the views never caught up")
            time.sleep(0.005)
    return float(counted["total"] / (counted["total_seconds"] + time.perf_counter() - loaded_at))


def _is_projected(client: redis.Redis) -> bool:
    last_id: bytes = client.xinfo_stream(schema.LOG)["last-generated-id"]
    position = client.hget(schema.FLEET, "position")
    return isinstance(position, bytes) and MessageId.parse(position.decode()).log_id == last_id.decode()


MEASUREMENTS = (
    Measurement("qos1_10x20", "QoS 1 acknowledged, 10 connections x 20 in flight", "/s", _acknowledged(10, 20)),
    Measurement("qos1_500x1", "QoS 1 acknowledged, 500 connections x 1 in flight", "/s", _acknowledged(500, 1)),
    Measurement("sustained", "QoS 1 10 x 20, with the views up to date", "/s", _sustained, only=(Ours,)),
    Measurement("qos0_1_1", "QoS 0, 1 publisher to 1 subscriber, deliveries", "/s", _fan_out(1, 1)),
    Measurement("qos0_5_10", "QoS 0, 5 publishers to 10 subscribers, deliveries", "/s", _fan_out(5, 10)),
    Measurement(
        "cpu",
        "CPU of broker and store: a message, 2,000/s of 500 devices",
        "us",
        _cpu_us("acknowledged", 500, 4, PACED_PER_S),
        is_more_better=False,
    ),
    Measurement(
        "cpu_visit",
        "  a client that connects, subscribes, leaves",
        "us",
        _cpu_us("visits", VISITORS),
        is_more_better=False,
    ),
    Measurement(
        "cpu_ping",
        "  a PINGREQ, 2,000/s of 500 clients",
        "us",
        _cpu_us("pings", 500, PACED_PER_S),
        is_more_better=False,
    ),
    Measurement("cpu_rest", "  a second with nothing to do", "ms", _resting_ms, is_more_better=False),
    Measurement("idle", "memory an idle connection with one subscription", "bytes", _idle_bytes, is_more_better=False),
)
