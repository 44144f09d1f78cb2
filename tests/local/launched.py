"""A folder with a Procfile of small real processes, and the launcher on it as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

# A web process that answers /healthz.
WEB = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
open("web.pid", "w").write(str(os.getpid()))
HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
# A broker that accepts, and shows its environment.
TCP = """
import os, socket
print(*(os.environ[name] for name in "HOST PORT TCP_URL MQTT_USERNAME DASHBOARD_USERNAME DASHBOARD_PASSWORD".split()))
server = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
while True:
    server.accept()[0].close()
"""
# A process that counts its runs in the store.
COUNT = """
import os, redis, time
print("run", redis.from_url(os.environ["REDIS_URL"]).incr("runs"))
time.sleep(600)
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""
# A process that lives until told otherwise, with a child in its group that does not listen to SIGTERM.
PARENT = """
import os, signal, subprocess, sys, time
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("grandchild.pid", "w").write(str(os.getpid()))
    time.sleep(600)
child = subprocess.Popen([sys.executable, __file__, "child"])
while not os.path.exists("grandchild.pid"):
    time.sleep(0.01)
open("parent.pid", "w").write(str(os.getpid()))
time.sleep(600)
"""
SCRIPTS = {"web.py": WEB, "tcp.py": TCP, "count.py": COUNT, "stubborn.py": STUBBORN, "parent.py": PARENT}


def await_condition(condition: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    """Poll until `condition` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie that waits for its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Launched:
    """`python -m local` in `folder`, with free ports and nothing of this machine's own settings."""

    def __init__(self, folder: Path, procfile: str) -> None:
        self.folder = folder
        (folder / "Procfile").write_text(procfile)
        for name, script in SCRIPTS.items():
            (folder / name).write_text(script)
        self.web_port, self.mqtt_port = free_port(), free_port()
        self._output = folder / f"output-{self.web_port}"
        self.environ = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "WEB_PORT": str(self.web_port),
            "MQTT_PORT": str(self.mqtt_port),
            "DEMO": "0",
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> Launched:
        """Start it; `await_ready` or `finish` come next."""
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local"],
                cwd=self.folder,
                env={**self.environ, **environ},
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
        return self

    def await_ready(self) -> Launched:
        await_condition(lambda: "Dashboard" in self.output() or self.process.poll() is not None, "the addresses shown")
        assert self.process.poll() is None, self.output() + self.finish()[1]
        return self

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def output(self) -> str:
        return self._output.read_text()

    def pid(self, name: str) -> int:
        """The process id that `name` wrote down."""
        path = self.folder / f"{name}.pid"
        await_condition(lambda: path.exists() and path.read_text(), f"{name} wrote its process id")
        return int(path.read_text())

    def store_pid(self) -> int:
        """The process id of the embedded store, found by its parent."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if "valkey-server" in Path(f"/proc/{pid}/cmdline").read_text())

    def finish(self, signal_number: int | None = None) -> tuple[int, str]:
        """Send a signal, if any, wait for the end, and return the exit status and what stood on standard error."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
