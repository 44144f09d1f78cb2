"""What a device or a gateway reads while it has no connection arrives later: in order, and with its own time."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mosquitto import Mosquitto, Subscriber, await_condition

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
OUTAGE = """
duration_s = 3
protocol = "{protocol}"
[[gateways]]
count = 1
devices = 2
rate = 40
qos = {qos}
buffer = {buffer}
[[watchers]]
[[phases]]
kind = "outage"
at_s = 0.5
for_s = 1.5
how = "{how}"
"""


def run(mosquitto: Mosquitto, folder: Path, scenario: str, argv: Sequence[str] = ()) -> str:
    path = folder / "outage.toml"
    path.write_text(scenario)
    command = [sys.executable, "-m", "emulator", "fleet", "--url", mosquitto.url, "--scenario", str(path), *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def readings(subscriber: Subscriber, device_id: str) -> list[tuple[int, datetime]]:
    found = [json.loads(payload) for name, payload in subscriber.received("telemetry") if f"/{device_id}/" in name]
    return [(reading["seq"], datetime.fromisoformat(reading["time"])) for reading in found]


@pytest.mark.parametrize(("protocol", "qos", "how"), [("5", 2, "cut"), ("3.1.1", 1, "silent"), ("3.1.1", 2, "cut")])
def test_nothing_read_during_an_outage_is_missing(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, protocol: str, qos: int, how: str
):
    said = run(mosquitto, tmp_path, OUTAGE.format(protocol=protocol, qos=qos, how=how, buffer=1000))
    assert "skipped         0" in said
    assert said.splitlines()[-1] == "VERIFIED"
    for device_id in ("gateway-0001-01", "gateway-0001-02"):
        await_condition(lambda name=device_id: len(readings(subscriber, name)) >= 60, "all readings")  # type: ignore[misc]
        numbers, times = zip(*dict(readings(subscriber, device_id)).items(), strict=True)
        assert numbers == tuple(range(1, 61))
        longest = max(later - earlier for earlier, later in pairwise(times))
        assert longest.total_seconds() < 1.4  # not when they were sent: the outage is of 1.5 s


def test_what_is_kept_is_bounded(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path):
    said = run(mosquitto, tmp_path, OUTAGE.format(protocol="5", qos=1, how="cut", buffer=10))
    assert "forwarded       10 " in said
    assert "skipped         0" not in said
    assert said.splitlines()[-1] == "VERIFIED"


def test_a_command_comes_back_as_an_answer(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path):
    scenario = OUTAGE.format(protocol="5", qos=2, how="cut", buffer=1000)
    said = run(mosquitto, tmp_path, f"{scenario}\n[commands]\nrate = 10\nqos = 2\n")
    assert said.splitlines()[-1] == "VERIFIED"
    await_condition(lambda: len(subscriber.received("commands/echo")) > 10, "commands")
    await_condition(
        lambda: len(subscriber.received("answers/echo")) >= len(subscriber.received("commands/echo")), "their answers"
    )
    commands = sorted((name.split("/")[1], payload) for name, payload in subscriber.received("commands/echo"))
    answers = sorted((name.split("/")[1], payload) for name, payload in subscriber.received("answers/echo"))
    assert commands == answers
