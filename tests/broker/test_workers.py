"""BROKER_WORKERS: several broker processes on one port, under a parent that keeps them running."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest
from broker_process import eventually
from raw import ClosedError, RawClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broker_process import BrokerProcess

WORKERS = 3
CLIENTS = 60  # all of them on two of three workers: about once in 10^10 runs


@pytest.fixture
def parent(start_broker: Callable[..., BrokerProcess]) -> Iterator[BrokerProcess]:
    process = start_broker(BROKER_WORKERS=str(WORKERS))
    eventually(lambda: process.log.count("Listening on") == WORKERS, "every worker listens")
    yield process
    assert "Traceback" not in process.log


def _workers(parent: BrokerProcess) -> list[psutil.Process]:
    return [each for each in psutil.Process(parent.pid).children() if "--worker" in each.cmdline()]


def _owner(workers: list[psutil.Process], client: RawClient) -> int:
    """Return the process id of the worker that has a client's connection."""
    port = client._socket.getsockname()[1]
    for worker in workers:
        if any(each.raddr and each.raddr.port == port for each in worker.net_connections("tcp")):
            return worker.pid
    raise AssertionError("no worker has the connection")


@contextlib.contextmanager
def _connected(parent: BrokerProcess) -> Iterator[list[RawClient]]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(parent.host, parent.port)) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            assert client.connect(f"client-{number}").code == 0
        yield clients


def _family(parent: BrokerProcess) -> list[psutil.Process]:
    return psutil.Process(parent.pid).children(recursive=True)


def _await_gone(processes: list[psutil.Process]) -> None:
    eventually(lambda: not any(each.is_running() for each in processes), "no process is left", 20)


def test_connections_are_spread_and_one_projector_serves_all(parent: BrokerProcess) -> None:
    workers = _workers(parent)
    assert len(workers) == WORKERS
    with _connected(parent) as clients:
        owners = Counter(_owner(workers, client) for client in clients)
    assert set(owners) == {worker.pid for worker in workers}
    assert sum("broker.projector" in each.cmdline() for each in _family(parent)) == 1


def test_a_worker_that_is_killed_is_started_again_and_the_others_serve_on(parent: BrokerProcess) -> None:
    workers = _workers(parent)
    with _connected(parent) as clients:
        owners = {client: _owner(workers, client) for client in clients}
        victim = workers[0]
        victim.kill()
        for client, owner in owners.items():
            if owner == victim.pid:
                with pytest.raises((ClosedError, ConnectionError)):
                    client.ping()
            else:
                client.ping()
    eventually(lambda: parent.log.count("Listening on") == WORKERS + 1, "another worker listens")
    pids = {each.pid for each in _workers(parent)}
    assert len(pids) == WORKERS
    assert {each.pid for each in workers[1:]} < pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(parent: BrokerProcess, number: signal.Signals) -> None:
    family = _family(parent)
    with _connected(parent) as clients:
        os.kill(parent.pid, number)
        assert parent.wait() == 0
        for client in clients:
            assert [packet.type for packet in client.receive_until_closed()] == [14]  # DISCONNECT, 0x8B
    assert parent.log.count("Stopped.") == WORKERS
    _await_gone(family)


def test_a_parent_that_is_killed_leaves_no_process(parent: BrokerProcess) -> None:
    family = _family(parent)
    assert len(family) == WORKERS + 1
    parent.kill()
    _await_gone(family)


def test_bad_settings_end_the_parent_with_one_line(
    start_broker: Callable[..., BrokerProcess], new_broker: Callable[..., BrokerProcess], tmp_path: Path
) -> None:
    missing = tmp_path / "no-such.yaml"
    process = new_broker(REDIS_URL="redis://127.0.0.1:1", BROKER_CONFIG=str(missing), BROKER_WORKERS="3")
    process.launch()
    assert process.wait() == 2
    assert process.log.count(str(missing)) == 1


@pytest.mark.parametrize(("first", "second"), [("1", "2"), ("2", "1"), ("2", "2")])
def test_a_port_that_is_taken_is_noticed(
    start_broker: Callable[..., BrokerProcess], new_broker: Callable[..., BrokerProcess], first: str, second: str
) -> None:
    running = start_broker(BROKER_WORKERS=first)
    late = new_broker(
        REDIS_URL=running.store_url, ALLOW_ANONYMOUS="true", PORT=str(running.port), BROKER_WORKERS=second
    )
    late.launch()
    assert late.wait() == 1
    assert f"Cannot listen on 127.0.0.1:{running.port}" in late.log
    running.terminate()
