"""`make platform`: brokers behind the gateway, web, store and fleet on one machine, and nothing left of them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from launched import ROOT, await_condition, is_alive

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


class Platform:
    """One `make platform`, with a short data folder: a socket's path may have 100 bytes."""

    def __init__(self, data: Path) -> None:
        self._output = data / "output"
        environ = {"PATH": os.defpath, "DATA_DIR": str(data), "HOME": str(data)}
        environ.update(WEB_PORT=str(free_port()), MQTT_PORT=str(free_port()))
        with self._output.open("w") as output:
            self.make = subprocess.Popen(
                ["make", "-o", ".venv/ready", "platform"], cwd=ROOT, env=environ, stdout=output, stderr=output
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def act(self, *words: str) -> str:
        """Run the command that is shown, with other words in place of `status`."""
        found = re.search(r"(\S+ -m emulator gateway .*) status", self.output)
        assert found is not None
        command = [*shlex.split(found[1]), *words]
        return subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True, text=True).stdout

    def pids(self) -> list[int]:
        """Process ids of make and all its descendants."""
        found, todo = [], [self.make.pid]
        while todo:
            found.append(todo.pop())
            todo += map(int, Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split())
        return found


@pytest.fixture
def platform() -> Iterator[Platform]:
    with tempfile.TemporaryDirectory(prefix="platform-") as folder:
        running = Platform(Path(folder))
        yield running
        if running.make.poll() is None:
            running.make.terminate()
            running.make.wait(30)


def test_three_brokers_serve_a_fleet_through_a_deployment_and_ctrl_c_leaves_nothing(platform: Platform):
    await_condition(lambda: "Ctrl-C" in platform.output or platform.make.poll() is not None, "it runs", 60)
    assert platform.make.poll() is None, platform.output
    await_condition(lambda: "10 connections, 0 of them hanging" in platform.act("status"), "the fleet is connected")
    assert platform.act("status").count(" serving ") == 3
    assert platform.act("deploy").startswith("deployed in ")
    await_condition(lambda: platform.output.count("ended with status 0") == 3, "the old brokers have left", 40)
    await_condition(lambda: "10 connections, 0 of them hanging" in platform.act("status"), "the fleet is back", 40)
    pids = platform.pids()
    platform.make.send_signal(signal.SIGTERM)
    platform.make.wait(40)
    await_condition(lambda: not any(map(is_alive, pids)), "no process is left", 10)
    assert "6 status 0; after SIGTERM within" in platform.output
    assert "NOT acknowledged" not in platform.output
