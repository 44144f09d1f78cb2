"""What a container's processes take by themselves is what the plan says, and all accounts full together fit beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest
from broker_process import eventually
from raw import RawClient

from broker.memory_plan import BROKER_BYTES, MIB, OUTLETS_BYTES, PACKING_BYTES, PROJECTOR_BYTES, MemoryPlan
from settings import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

BASE = {"REDIS_URL": "redis://127.0.0.1:1", "ALLOW_ANONYMOUS": "true"}
REST_S = 2.0  # what is imported and built at the start is there by then


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MONGO_URL": "mongodb://127.0.0.1/x"},
        {"CONTAINER_MEMORY": str(512 * MIB), "BROKER_WORKERS": "2"},
        {"CONTAINER_MEMORY": str(1024 * MIB), "BROKER_WORKERS": "4"},
    ],
    ids=["defaults", "MongoDB", "two workers", "four workers"],
)
def test_everything_full_together_fits_the_container(environ: dict[str, str]) -> None:
    settings = load({**BASE, **environ}, "tcp")
    plan = MemoryPlan.of(settings)
    each = BROKER_BYTES + PACKING_BYTES + settings.backlog_bytes + settings.receive_buffer_bytes
    each += sum(account.limit_bytes for account in plan)
    added_up = settings.broker_workers * each + PROJECTOR_BYTES + (OUTLETS_BYTES if settings.mongo_url else 0)
    assert added_up == plan.total_bytes
    assert added_up <= settings.container_memory
    assert plan.warning(settings.container_memory) == ""
    assert all(account.limit_bytes > 2 * MIB for account in plan)


def _resident_bytes(process: psutil.Process) -> int:
    resident: int = process.memory_info().rss
    return resident


def _named(parent: BrokerProcess, name: str) -> psutil.Process:
    return next(each for each in psutil.Process(parent.pid).children() if f"broker.{name}" in each.cmdline())


def test_processes_at_rest_take_what_the_plan_says(start_broker: Callable[..., BrokerProcess]) -> None:
    broker = start_broker(INFLUX_URL="http://127.0.0.1:1/database", MONGO_URL="mongodb://127.0.0.1:1/database")
    with RawClient(broker.host, broker.port) as client:
        client.connect("c")
        client.publish("devices/a/t", b'{"t": 1}', qos=1)
    time.sleep(REST_S)
    assert _resident_bytes(psutil.Process(broker.pid)) < BROKER_BYTES
    assert _resident_bytes(_named(broker, "projector")) < PROJECTOR_BYTES
    assert _resident_bytes(_named(broker, "outlets")) < OUTLETS_BYTES


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_container_that_is_too_small_is_named_once_with_the_size_that_fits(
    start_broker: Callable[..., BrokerProcess], workers: str
) -> None:
    settings = {
        "CONTAINER_MEMORY": str(128 * MIB),
        "MONGO_URL": "mongodb://127.0.0.1:1/database",
        "BROKER_WORKERS": workers,
    }
    broker = start_broker(**settings)
    eventually(lambda: broker.log.count("Listening on") == int(workers), "all listen", 20)
    fits = -(-MemoryPlan.of(load({**BASE, **settings}, "tcp")).total_bytes // MIB)
    assert broker.log.count("The container is too small") == 1
    assert f"can take {fits} MiB, CONTAINER_MEMORY is 128 MiB" in broker.log
    larger = load({**BASE, **settings, "CONTAINER_MEMORY": str(fits * MIB)}, "tcp")
    assert MemoryPlan.of(larger).warning(larger.container_memory) == ""
    with RawClient(broker.host, broker.port) as client:
        assert client.connect("c").code == 0
