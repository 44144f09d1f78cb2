"""A server that is run as a child: started, watched, paused, killed and stopped. It ends when this process does (Linux)."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from local.parent_death import ending_with_parent

if TYPE_CHECKING:
    from pathlib import Path

STOP_TIMEOUT_S = 30


class ServerProcess(ABC):
    """One server with its data and its log in `folder`. Start it from a thread that lives as long as it should."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line."""

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The server's process id. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL); `start()` brings it back with what it had on disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server in an orderly way, or kill it after STOP_TIMEOUT_S. Harmless when it does not run."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the server from answering without closing a connection (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_parent(self._command(), signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _raise_if_ended(self) -> None:
        if not self.is_running:
            raise RuntimeError(f"{self.name} ended at its start; see {self.log}")

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            if number != signal.SIGKILL:  # which takes a paused one as it is
                process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
