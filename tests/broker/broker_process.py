"""The broker as an operator runs it: `python -m broker` in a process of its own, told everything by its environment."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 20.0


def eventually(condition: Callable[[], bool], what: str, deadline_s: float = 10.0) -> None:
    """Return as soon as `condition` holds. Raises AssertionError with `what` when the deadline passes."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)


class BrokerProcess:
    """One `python -m broker`; keeps its port and its log file over restarts."""

    host = HOST

    def __init__(self, settings: Mapping[str, str], log_file: Path) -> None:
        self.port = free_port()
        self._environ = {"HOST": HOST, "PORT": str(self.port), **settings}
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def store_url(self) -> str:
        """The store it was told to use."""
        return self._environ["REDIS_URL"]

    @property
    def log(self) -> str:
        """Everything the process has written to stdout and stderr so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def launch(self) -> None:
        """Start the process without waiting for it to serve."""
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "broker"],
                env=self._environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start the process and return when it accepts connections. Raises AssertionError with its log otherwise."""
        self.launch()
        self.await_listening()

    def await_listening(self) -> None:
        """Return when the process accepts connections. Raises AssertionError with its log when it does not."""
        end = time.monotonic() + START_DEADLINE_S
        while not self._accepts():
            assert self.is_running, f"the broker ended at its start:\n{self.log}"
            assert time.monotonic() < end, f"the broker does not listen:\n{self.log}"
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def wait(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Wait for the process to end by itself and return its exit code."""
        assert self._process is not None
        code = self._process.wait(deadline_s)
        self._process = None
        return code

    def signal_stop(self) -> None:
        """Send SIGTERM and return at once."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def terminate(self) -> int:
        """Ask the process to end (SIGTERM), as the platform does, and return its exit code."""
        self.signal_stop()
        return self.wait()

    def stop(self) -> None:
        """End the process in order: no other node misses it and says so. Harmless when it does not run."""
        if self.is_running:
            self.terminate()

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL). Harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def restart(self) -> None:
        """Kill the process and start it again on the same port."""
        self.kill()
        self.start()

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0
