"""The launcher on small real processes: what people are told, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from launched import Launched, await_condition, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[str], Launched]

TWO = "web: python web.py\nworker: python parent.py\n"


def pids(launcher: Launched) -> list[int]:
    return [launcher.store_pid(), *(launcher.pid(name) for name in ("web", "parent", "grandchild"))]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything(launched: Make, signal_number: int):
    launcher = launched(TWO).start().await_ready()
    started = pids(launcher)
    assert all(map(is_alive, started))
    assert launcher.finish(signal_number) == (0, "")
    assert [pid for pid in started if is_alive(pid)] == []


def test_a_killed_launcher_leaves_nobody(launched: Make):
    launcher = launched("web: python web.py\n").start().await_ready()
    started = [launcher.store_pid(), launcher.pid("web")]
    launcher.finish(signal.SIGKILL)
    await_condition(lambda: not any(map(is_alive, started)), "the kernel ended them")


def test_a_second_signal_does_not_wait(launched: Make):
    launcher = launched("stubborn: python stubborn.py\n").start().await_ready()
    await_condition(lambda: "stubborn | " in launcher.output(), "it ignores SIGTERM")
    launcher.process.terminate()
    await_condition(lambda: "stopping" in launcher.output(), "the first signal was seen")
    assert launcher.finish(signal.SIGTERM) == (0, "")


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("sh -c 'exit 3'", "status 3"),
        ('python -c "import os; os.kill(os.getpid(), 9)"', "SIGKILL"),
        ("nonsense", "status 127"),
    ],
)
def test_a_process_that_ends_by_itself_stops_all(launched: Make, command: str, outcome: str):
    launcher = launched(f"web: python web.py\nshort: {command}\n").start()
    assert launcher.finish() == (1, f"short ended with {outcome}: everything is stopped\n")
    if (launcher.folder / "web.pid").exists():
        assert not is_alive(launcher.pid("web"))


def test_a_store_that_ends_stops_all(launched: Make):
    launcher = launched("web: python web.py\n").start().await_ready()
    os.kill(launcher.store_pid(), signal.SIGKILL)
    status, errors = launcher.finish()
    assert status == 1
    assert errors.startswith("the store ended: everything is stopped")
    assert not is_alive(launcher.pid("web"))


@pytest.mark.parametrize("variable", ["MQTT_PORT", "WEB_PORT"])
def test_a_taken_port_is_one_line_before_anything_starts(launched: Make, variable: str):
    launcher = launched(TWO)
    port = int(launcher.environ[variable])
    with socket.create_server(("127.0.0.1", port)):
        status, errors = launcher.start().finish()
    assert status == 1
    assert errors.startswith(f"Port {port} is taken ({variable}): stop what listens there or run {variable}=")
    assert errors.endswith(" make run\n")
    assert len(errors.splitlines()) == 1
    assert not (launcher.folder / ".data/valkey").exists()
    assert launcher.output() == ""


def test_a_second_launcher_in_the_folder_is_refused(launched: Make):
    first = launched("web: python web.py\n").start().await_ready()
    second = launched("web: python web.py\n")
    refusal = f"Already running in this folder (process {first.process.pid}): stop that one first\n"
    assert second.start().finish() == (1, refusal)
    assert is_alive(first.pid("web"))
    first.finish(signal.SIGTERM)


def test_yesterdays_data_and_passwords_are_there_today(launched: Make):
    credentials = []
    for run in (1, 2):
        launcher = launched("count: python count.py\n").start().await_ready()
        await_condition(lambda run=run, launcher=launcher: f"count | run {run}" in launcher.output(), f"run {run}")
        credentials.append((launcher.folder / ".data/credentials").read_text())
        assert launcher.finish(signal.SIGTERM)[0] == 0
    assert credentials[0] == credentials[1]
    assert stat.S_IMODE((launcher.folder / ".data/credentials").stat().st_mode) == 0o600


def test_processes_get_the_platforms_environment(launched: Make):
    launcher = launched("tcp: python tcp.py\nweb: python web.py\n").start(DASHBOARD_PASSWORD="mine").await_ready()
    port = launcher.mqtt_port
    shown = f"tcp  | 127.0.0.1 {port} tcp://127.0.0.1:{port} device admin mine\n"
    await_condition(lambda: shown in launcher.output(), shown)
    assert "user admin, password as in your DASHBOARD_PASSWORD" in launcher.output()
    assert launcher.finish(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"MQTT_PORT": "abc"}, "MQTT_PORT: 'abc' cannot be used: use a whole number from 1 to 65535\n"),
        ({"MQTT_PORT": "9999", "WEB_PORT": "9999"}, "MQTT_PORT and WEB_PORT are both 9999: choose two ports\n"),
    ],
)
def test_a_bad_port_is_one_line(launched: Make, environ: dict[str, str], complaint: str):
    assert launched(TWO).start(**environ).finish() == (1, complaint)
