"""A server that speaks MongoDB's wire protocol (secantusdb), started and stopped as a child process. For tests.

It says it is newer than the platform's MongoDB 4.0: what that has is held by a test of its own, not by this server.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import PyMongoError

from local.parent_death import ending_with_parent

if TYPE_CHECKING:
    from pymongo import MongoClient

PROGRAM = Path(sys.executable).parent / "secantusd-py"
POLL_S = 0.05


class EmbeddedMongoDB:
    """One server on `folder`, at 127.0.0.1:`port`; 0 takes a free one and keeps it. Start it from a thread that stays."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL to connect to, without a database."""
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = 60) -> None:
        """Start the server and return when it answers. Raises RuntimeError or TimeoutError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_parent(self._command(), signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_answer(timeout_s)

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL); `start()` brings it back with what it had on disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server in an orderly way. Harmless when it does not run."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the server from answering without closing a connection (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _command(self) -> list[str]:
        return [
            str(PROGRAM), "--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.folder / "data"),
            "--log-level", "WARNING", "--cache-size", "64M",
        ]  # fmt: skip

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise RuntimeError("not started")
        os.kill(self._process.pid, number)

    def _await_answer(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        client: MongoClient[dict[str, Any]]
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500) as client:
            while time.monotonic() < deadline:
                if not self.is_running:
                    raise RuntimeError(f"secantusd-py ended at its start; see {self.folder / 'server.log'}")
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    time.sleep(POLL_S)
                else:
                    return
        self.kill()
        raise TimeoutError(f"secantusd-py did not answer within {timeout_s} s")

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
