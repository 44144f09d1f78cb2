"""The application as people start it: `make run` with the real Procfile, on ports and in a data folder of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from launched import ROOT, await_condition, is_alive

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN = re.compile(r"user (\S+), password (\S+)")


class Application:
    """One `make run`; `-o` spares it the installation, which this test's own environment proves."""

    def __init__(self, data: Path) -> None:
        self._output = data / "output"
        self.web_port, self.mqtt_port = free_port(), free_port()
        environ = {"PATH": os.defpath, "DATA_DIR": str(data), "DEMO": "1", "HOME": str(data)}
        environ.update(WEB_PORT=str(self.web_port), MQTT_PORT=str(self.mqtt_port))
        with self._output.open("w") as output:
            self.make = subprocess.Popen(
                ["make", "-o", ".venv/ready", "run"], cwd=ROOT, env=environ, stdout=output, stderr=output
            )
        await_condition(lambda: "Ctrl-C" in self.output() or self.make.poll() is not None, "it runs", 60)
        assert self.make.poll() is None, self.output()

    def output(self) -> str:
        return self._output.read_text()

    def get(self, path: str) -> Any:
        """The JSON of the API's answer; None for 404."""
        found = LOGIN.search(self.output())
        assert found is not None
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}/api/v1{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(found.groups()).encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return None

    def descendants(self) -> list[int]:
        found, todo = [], [self.make.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                todo += map(int, children.read().split())
        return found


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    running = Application(tmp_path)
    yield running
    if running.make.poll() is None:
        running.make.terminate()
        running.make.wait(30)


def test_what_make_run_prints_works_as_it_is_and_sigterm_to_make_stops_it_all(application: Application):
    command = re.search(r"mosquitto_pub .*", application.output())
    assert command is not None
    subprocess.run(["/bin/sh", "-c", command[0]], check=True, timeout=10)
    await_condition(lambda: application.get("/devices/my-device"), "the message is on the dashboard")
    device = application.get("/devices/my-device")
    assert device["values"]["temperature"]["value"] == 21.5
    await_condition(lambda: application.get("/fleet")["devices"]["online"] == 10, "the demo fleet is online")
    processes = application.descendants()
    assert len(processes) >= 6  # make, the launcher, store, tcp, web and its worker, demo
    application.make.send_signal(signal.SIGTERM)
    application.make.wait(20)
    await_condition(lambda: not any(map(is_alive, processes)), "no process is left", 10)
    assert "acknowledged" in application.output()  # the fleet's summary: it left before the broker did
    assert "NOT acknowledged" not in application.output()


def test_a_killed_launcher_leaves_no_process_of_the_application(application: Application):
    await_condition(lambda: (application.get("/fleet") or {})["devices"]["online"] == 10, "the demo fleet is online")
    make, launcher, *children = application.descendants()
    assert make == application.make.pid
    os.kill(launcher, signal.SIGKILL)
    application.make.wait(10)
    await_condition(lambda: not any(map(is_alive, children)), "store, tcp, web with its workers and demo are gone", 10)
