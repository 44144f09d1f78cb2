"""The fleet against a broker that others wrote: what it says it did is what a subscriber saw."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mosquitto import Mosquitto, Subscriber, await_condition

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def command(*argv: object) -> list[str]:
    return [sys.executable, "-m", "emulator", "fleet", *(str(argument) for argument in argv)]


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*argv), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def start() -> Iterator[Starter]:
    starter = Starter()
    yield starter
    for process in starter.processes:
        process.kill()
        process.communicate()


class Starter:
    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(self, *argv: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*argv), cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.processes.append(process)
        return process


def number(summary: str, name: str) -> int:
    found = re.search(rf"^{name} +([\d,]+)", summary, re.MULTILINE)
    assert found is not None, summary
    return int(found[1].replace(",", ""))


def sequences(subscriber: Subscriber) -> dict[str, list[int]]:
    seen: dict[str, list[int]] = {}
    for topic_name, payload in subscriber.received("telemetry"):
        seen.setdefault(topic_name, []).append(json.loads(payload)["seq"])
    return seen


@pytest.mark.parametrize(("protocol", "qos"), [("3.1.1", 0), ("3.1.1", 2), ("5", 1)])
def test_the_summary_counts_what_a_subscriber_received(
    mosquitto: Mosquitto, subscriber: Subscriber, protocol: str, qos: int
):
    done = run(
        "--url", mosquitto.url, "--devices", 4, "--rate", 80, "--duration", 1, "--qos", qos, "--protocol", protocol
    )
    assert done.returncode == 0, done.stderr
    assert "  4/4 connected  " in done.stderr.splitlines()[0]  # and only then they publish
    assert number(done.stdout, "connected") == 4
    sent = number(done.stdout, "sent")
    assert sent == 80 + 2 * 4  # the readings, and each device's online and offline
    if qos > 0:
        assert number(done.stdout, "acknowledged") == sent
        assert re.search(r"latency \(ms\) +p50 [\d.]+ +p95 [\d.]+ +p99 [\d.]+ +max [\d.]+", done.stdout)
    await_condition(lambda: len(subscriber.messages) >= sent, "all messages arrived")
    assert len(subscriber.messages) == sent
    expected = {f"devices/sensor-000{device}/telemetry": list(range(1, 21)) for device in range(1, 5)}
    assert sequences(subscriber) == expected


def test_readings_depend_on_the_seed_alone(mosquitto: Mosquitto, subscriber: Subscriber):
    for _ in range(2):
        assert (
            run("--url", mosquitto.url, "--devices", 1, "--rate", 20, "--duration", 0.2, "--seed", 42).returncode == 0
        )
    await_condition(lambda: len(subscriber.received("telemetry")) == 8, "both runs arrived")
    walks = [json.loads(payload)["pressure"] for _, payload in subscriber.received("telemetry")]
    assert walks[:4] == walks[4:]  # pressure follows no daily curve, so the time of day does not matter


def test_a_restarted_broker_gets_everything_that_was_acknowledged(
    mosquitto: Mosquitto, subscriber: Subscriber, start: Starter
):
    fleet = start("--url", mosquitto.url, "--devices", 5, "--rate", 100, "--persistent")
    await_condition(lambda: len(subscriber.messages) > 50, "the fleet publishes")
    mosquitto.stop()
    mosquitto.start()
    before = len(subscriber.messages)
    await_condition(lambda: len(subscriber.messages) > before + 200, "the fleet is back")
    fleet.send_signal(signal.SIGINT)
    summary, errors = fleet.communicate(timeout=20)
    assert fleet.returncode == 0, errors
    assert number(summary, "reconnects") >= 5
    assert number(summary, "acknowledged") == number(summary, "sent")
    assert mosquitto.log.read_text().count("(p5, c1, k60, u'fleet')") == 5  # begun anew once, then continued
    telemetry = number(summary, "sent") - number(summary, "reconnects") - 2 * 5
    await_condition(
        lambda: sum(len(set(seen)) for seen in sequences(subscriber).values()) == telemetry, "no reading lost"
    )


def test_a_wrong_password_is_one_clear_line(mosquitto: Mosquitto):
    done = run("--url", f"tcp://fleet:wrong@127.0.0.1:{mosquitto.port}", "--duration", 1)
    assert done.returncode == 1
    assert done.stderr == f"No connection to 127.0.0.1:{mosquitto.port}: the broker answered: Not authorized\n"


def test_nobody_listening_is_one_clear_line(mosquitto: Mosquitto):
    mosquitto.stop()
    done = run("--url", mosquitto.url)
    assert (done.returncode, done.stderr) == (1, f"No connection to 127.0.0.1:{mosquitto.port}: Connection refused\n")


def test_a_server_that_never_answers_ends_in_bounded_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        done = run("--url", f"tcp://127.0.0.1:{port}", "--connect-timeout", 0.5)
    assert (done.returncode, done.stderr) == (1, f"No connection to 127.0.0.1:{port}: no answer within 0.5 s\n")


def test_a_server_that_hangs_up_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        fleet = subprocess.Popen(
            command("--url", f"tcp://127.0.0.1:{port}"), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        connection, _ = server.accept()
        connection.close()
        _, errors = fleet.communicate(timeout=10)
    assert fleet.returncode == 1
    assert errors.startswith(f"No connection to 127.0.0.1:{port}: ")
    assert len(errors.splitlines()) == 1


def test_messages_never_acknowledged_give_status_1(mosquitto: Mosquitto, subscriber: Subscriber, start: Starter):
    fleet = start("--url", mosquitto.url, "--devices", 3, "--rate", 30, "--window", 4, "--drain-timeout", 0.5,
                  "--connect-timeout", 1)  # fmt: skip
    await_condition(lambda: len(subscriber.received("telemetry")) > 5, "the fleet publishes")
    mosquitto.pause()
    fleet.terminate()
    summary, _ = fleet.communicate(timeout=20)
    assert fleet.returncode == 1
    unanswered = number(summary, "sent") - number(summary, "acknowledged")
    assert 0 < unanswered <= 3 * 4  # the window of each
    assert f"NOT acknowledged: {unanswered} without an answer, 0 refused" in summary


def test_a_refused_message_gives_status_1(mosquitto: Mosquitto):
    done = run("--url", mosquitto.url, "--devices", 1, "--rate", 10, "--duration", 0.5, "--prefix", "denied")
    assert done.returncode == 1
    assert re.search(r"NOT acknowledged: 0 without an answer, [1-5] refused", done.stdout)


def test_wills_tell_of_a_killed_fleet_and_goodbyes_of_one_that_left(
    mosquitto: Mosquitto, subscriber: Subscriber, start: Starter
):
    fleet = start("--url", mosquitto.url, "--devices", 3, "--rate", 30, "--prefix", "killed")
    await_condition(lambda: len(subscriber.received("telemetry")) > 5, "the fleet publishes")
    fleet.kill()
    run("--url", mosquitto.url, "--devices", 3, "--rate", 30, "--duration", 0.2, "--prefix", "left")
    await_condition(lambda: len(subscriber.received("status")) == 12, "online and offline of six devices")
    late = Subscriber(mosquitto.port, "devices/+/status", "late")
    await_condition(lambda: sum(retain for *_, retain in late.messages) == 6, "six retained states")
    late.close()
    assert [json.loads(payload)["online"] for _, payload, retain in late.messages if retain] == [False] * 6


def test_a_thousand_devices_share_one_thread(mosquitto: Mosquitto, start: Starter):
    fleet = start("--url", mosquitto.url, "--devices", 1000, "--rate", 500, "--duration", 2, "--drain-timeout", 30)
    threads = 0
    while fleet.poll() is None and not mosquitto.log.read_text().count("sensor-1000"):
        threads = max(threads, len(os.listdir(f"/proc/{fleet.pid}/task")))
        time.sleep(0.05)
    summary, errors = fleet.communicate(timeout=60)
    assert fleet.returncode == 0, errors
    assert number(summary, "acknowledged") == number(summary, "sent") == 1000 + 2 * 1000
    assert threads <= 8  # the loop, and a small pool for DNS


def test_a_terminal_gets_a_line_that_rewrites_itself(mosquitto: Mosquitto, start: Starter):
    ours, theirs = pty.openpty()
    fleet = start("--url", mosquitto.url, "--devices", 2, "--rate", 20, stderr=theirs)
    os.close(theirs)
    shown = b""
    while shown.count(b"\r") < 2:
        assert select.select([ours], [], [], 10)[0], shown
        shown += os.read(ours, 4096)
    fleet.terminate()
    assert fleet.wait(10) == 0
    os.close(ours)
    assert re.search(rb"\r\x1b\[K00:0\d  2/2 connected  \d+ sent \(\d+/s\)  \d+ acknowledged", shown), shown
