"""A part of the broker that fails ends the process with a status that says so; a child that fails is left alone for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import psutil
import pytest
import redis
from broker_process import eventually
from raw import RawClient

from broker import child as child_module
from broker.child import Child
from store import schema
from tests.net.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker_process import BrokerProcess

# A user's plugin can do this, as any fault of ours could.
BREAKS_A_PART = """
    import os
    from amqtt.plugins.base import BasePlugin
    from broker.commit.room import Room

    look = Room._look

    async def breaks(self):
        if os.path.exists(os.environ["BREAK_FILE"]):
            raise ZeroDivisionError("a part is broken")
        await look(self)

    Room._look = breaks

    class Breaks(BasePlugin):
        pass
"""
CONFIG = "plugins: {users_plugins.Breaks: {}}"


@pytest.fixture
def start_breakable(
    start_with_plugins: Callable[..., BrokerProcess], tmp_path: Path
) -> Callable[..., tuple[BrokerProcess, Path]]:
    """Start a broker of which a part fails as soon as a file exists."""

    def start(**settings: str) -> tuple[BrokerProcess, Path]:
        file = tmp_path / "break"
        settings = {"ALLOW_ANONYMOUS": "true", "BREAK_FILE": str(file), **settings}
        return start_with_plugins(CONFIG, BREAKS_A_PART, **settings), file

    return start


def test_a_part_that_fails_ends_the_process_with_status_1(
    start_breakable: Callable[..., tuple[BrokerProcess, Path]],
) -> None:
    process, file = start_breakable()
    with RawClient(process.host, process.port) as client:
        client.connect("c")
        file.touch()
        assert [mqtt.read_disconnect(each) for each in client.receive_until_closed()] == [0x8B]
    assert process.wait() == 1
    assert "a part is broken" in process.log
    assert "Stopped.\n" not in process.log


def test_a_worker_of_which_a_part_fails_is_started_again(
    start_breakable: Callable[..., tuple[BrokerProcess, Path]],
) -> None:
    process, file = start_breakable(BROKER_WORKERS="2")
    eventually(lambda: process.log.count("Listening on") == 2, "both listen", 20)
    file.touch()
    eventually(lambda: process.log.count("ended with status 1; starting it again") >= 2, "both failed", 20)
    file.unlink()
    before = process.log.count("Listening on")
    eventually(lambda: process.log.count("Listening on") >= before + 2, "they listen again", 30)
    process.terminate()


def test_a_worker_that_is_killed_while_it_stops_is_in_the_parents_status(
    start_broker: Callable[..., BrokerProcess],
) -> None:
    process = start_broker(BROKER_WORKERS="2")
    eventually(lambda: process.log.count("Listening on") == 2, "both listen", 20)
    worker = next(each for each in psutil.Process(process.pid).children() if "--worker" in each.cmdline())
    os.kill(worker.pid, signal.SIGSTOP)
    process.signal_stop()
    eventually(lambda: "Stopped." in process.log, "the other has stopped", 20)
    worker.kill()
    assert process.wait() == 1


def test_what_another_node_has_stored_of_itself_ends_nobody(
    start_broker: Callable[..., BrokerProcess],
) -> None:
    process = start_broker()
    with redis.Redis.from_url(process.store_url) as store:
        store.hset(schema.node_info("stranger"), mapping={"connections": "many", "sessions": "5"})
        store.zadd(schema.NODES, {"stranger": 4_000_000_000_000})
    second = start_broker()
    with RawClient(second.host, second.port) as client:
        client.connect("c")
        client.subscribe(("$SYS/cluster/clients/total", 0))
        assert client.receive_publish(deadline_s=20).payload != b""
    assert second.terminate() == 0


# --- children


def test_a_projector_that_cannot_start_because_of_a_setting_does_not_stop_the_broker(
    start_broker: Callable[..., BrokerProcess], tmp_path: Path
) -> None:
    """Its back-pressure holds meanwhile: what it cannot take fills the log to its bound, and no more."""
    certificate = Authority(tmp_path, "server").own
    process = start_broker(TLS_CERT=str(certificate.certificate), TLS_KEY=str(certificate.key), LOG_MAX_BYTES="1048576")
    broker = psutil.Process(process.pid)
    eventually(broker.children, "the projector runs", 20)
    certificate.certificate.write_text("nothing any more")
    (projector,) = broker.children()
    projector.kill()
    eventually(lambda: "because of a setting" in process.log, "a line that says why", 20)
    with RawClient(process.host, process.port, 4) as client:
        client.connect("c")
        _publish_until_held(client)
        client.ping()
    lines = [line for line in process.log.splitlines() if "broker.projector" in line]
    assert [line for line in process.log.splitlines() if line.startswith("TLS_CERT: ")] != []
    assert len(lines) <= 2  # it was killed, and then could not start
    assert "Traceback" not in process.log


def _publish_until_held(client: RawClient) -> None:
    """Publish until no PUBACK comes for 3 s. Fails where that does not happen within 60 MB."""
    payload = bytes(3_000)
    for number in range(20_000):
        packet_id = number + 1
        client.send(mqtt.publish(4, "devices/a/t", payload, qos=1, packet_id=packet_id))
        try:
            client.receive(mqtt.PUBACK, deadline_s=3)
        except TimeoutError:
            return
    raise AssertionError("publishers are not slowed")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(child_module, "LAST_BACKOFF_S", 0.08)


async def _run_for(child: Child, duration_s: float) -> None:
    running = asyncio.create_task(child.run())
    await asyncio.wait({running}, timeout=duration_s)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


class Scripted(Child):
    """A child whose process is not started: it ends at once, as told."""

    def __init__(self, *results: int | str) -> None:
        super().__init__("projector")
        self._results = list(results)
        self.started_s: list[float] = []

    async def _run_once(self) -> int | str:
        self.started_s.append(time.monotonic())
        return self._results.pop(0) if len(self._results) > 1 else self._results[0]


async def test_a_child_that_keeps_failing_is_started_after_ever_longer_pauses(
    quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    child = Scripted(-9)
    with caplog.at_level(logging.ERROR):
        await _run_for(child, 0.5)
    pauses = [later - earlier for earlier, later in zip(child.started_s, child.started_s[1:], strict=False)]
    assert pauses[0] >= 0.01
    assert pauses[1] >= 0.02
    assert pauses[2] >= 0.04
    assert len(child.started_s) <= 9
    assert [each.getMessage().split(". ")[0] for each in caplog.records] == [
        "The process of broker.projector ended with status -9"
    ]


async def test_a_child_with_a_bad_setting_waits_longest_at_once(quick: None, caplog: pytest.LogCaptureFixture) -> None:
    child = Scripted(2)
    with caplog.at_level(logging.ERROR):
        await _run_for(child, 0.3)
    assert len(child.started_s) <= 5
    (line,) = caplog.messages
    assert "because of a setting" in line


async def test_a_child_that_cannot_be_started_is_tried_again(
    quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with caplog.at_level(logging.ERROR):
        await _run_for(Child("projector"), 0.2)
    (line,) = caplog.messages
    assert "cannot be started: No such file" in line


async def test_how_often_it_failed_is_said_once_a_minute(
    quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child_module, "LOG_INTERVAL_S", 0.2)
    with caplog.at_level(logging.ERROR):
        await _run_for(Scripted(1), 0.5)
    assert 2 <= len(caplog.messages) <= 3
    assert " times since the last such line" in caplog.messages[1]
