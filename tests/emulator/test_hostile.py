"""`python -m emulator hostile` against a real broker, a small part of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emulator.hostile.latencies import Seen
from emulator.hostile.processes import BystanderProcess
from emulator.hostile.target import Target
from tests.broker.broker_process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PASSWORD = "of-the-devices"


@pytest.fixture
def broker(redis_url: str, tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(
        {"REDIS_URL": redis_url, "MQTT_USERNAME": "device", "MQTT_PASSWORD": PASSWORD}, tmp_path / "broker.log"
    )
    process.start()
    yield process
    process.kill()


def hostile(broker: BrokerProcess, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emulator", "hostile", "--url", f"tcp://device@{broker.host}:{broker.port}"]
    return subprocess.run(
        [*command, "--password-env", "SECRET", *argv],
        cwd=ROOT, env={"PATH": os.defpath, "SECRET": PASSWORD}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_small_attacks_are_run_and_judged(broker: BrokerProcess, redis_url: str, tmp_path: Path):
    ended = hostile(
        broker, "--only", "filters-many,wrong-password,wills-large", "--scale", "0.01", "--wait", "0.5",
        "--pid", str(broker.pid), "--memory-mb", "2000", "--redis-url", redis_url, "--json", str(tmp_path / "out"),
    )  # fmt: skip
    filters, passwords, wills = json.loads((tmp_path / "out").read_text())
    assert filters["answers"] == {"connected": 2, "CONNACK 0x00": 2, "SUBACK 0x00": 2000}
    assert passwords["answers"]["CONNACK 0x04"] == 50
    assert wills["answers"] == {"connected": 10, "CONNACK 0x00": 10}
    for each in (filters, passwords, wills):
        assert each["service"] == "ok", ended.stdout
        assert (each["answered"] > 5, each["unanswered"], each["missing"]) == (True, 0, 0)
        assert each["memory"]["peak"] >= each["memory"]["before"] > 10 * 2**20
        assert each["memory"]["redis_peak"] > 0
    assert ended.stdout.splitlines()[-1].endswith("of 3 ok")
    assert ended.stderr == ""
    assert ended.returncode == (0 if all(each["ok"] for each in (filters, passwords, wills)) else 1)


def test_a_broker_that_does_not_answer_is_said(broker: BrokerProcess):
    os.kill(broker.pid, signal.SIGSTOP)
    ended = hostile(broker, "--only", "garbage")
    os.kill(broker.pid, signal.SIGCONT)
    assert "NOT RUN  no service before the attack: no CONNACK within 5 s" in ended.stdout
    assert ended.returncode == 1


def test_a_bystander_notices_a_broker_that_hangs(broker: BrokerProcess):
    """Its beat does not wait for the answers: all that were due meanwhile have waited."""
    hang_s = 1.5
    with BystanderProcess(_target(broker), is_on_dashboard=False) as bystander:
        os.kill(broker.pid, signal.SIGSTOP)
        time.sleep(hang_s)
        os.kill(broker.pid, signal.SIGCONT)
        seen = bystander.conclude()
    assert seen.worst_s > hang_s - 0.3
    assert sum(latency > 0.3 for latency in seen.latencies_s) > 8
    assert (seen.unanswered, seen.missing, seen.cuts) == (0, 0, [])


def test_a_bystander_goes_on_after_a_crash(broker: BrokerProcess):
    seen = Seen()
    with BystanderProcess(_target(broker), is_on_dashboard=False) as bystander:
        restart = threading.Thread(target=broker.restart)
        restart.start()
        restart.join()
        seen = bystander.conclude()
    assert (seen.unanswered, seen.missing) == (0, 0)
    assert len(seen.cuts) >= 2
    assert seen.worst_s > 0.1


def _target(broker: BrokerProcess) -> Target:
    return Target(broker.host, broker.port, "device", PASSWORD)
