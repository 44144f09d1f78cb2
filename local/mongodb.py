"""A server that speaks MongoDB's wire protocol (secantusdb), started and stopped as a child process. For tests.

It says it is newer than the platform's MongoDB 4.0: what that has is held by a test of its own, not by this server.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import PyMongoError

from local.server_process import ServerProcess

if TYPE_CHECKING:
    from pymongo import MongoClient

PROGRAM = Path(sys.executable).parent / "secantusd-py"
POLL_S = 0.05


class EmbeddedMongoDB(ServerProcess):
    """One server on `folder`, at 127.0.0.1:`port`; 0 takes a free one and keeps it."""

    name = "mongodb"

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder)
        self.port = port or _free_port()

    @property
    def url(self) -> str:
        """The URL to connect to, without a database."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self, *, timeout_s: float = 60) -> None:
        """Start the server and return when it answers. Raises RuntimeError or TimeoutError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._spawn()
        self._await_answer(timeout_s)

    def _command(self) -> list[str]:
        return [
            str(PROGRAM), "--host", "127.0.0.1", "--port", str(self.port), "--storage-path", str(self.folder / "data"),
            "--log-level", "WARNING", "--cache-size", "64M",
        ]  # fmt: skip

    def _await_answer(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        client: MongoClient[dict[str, Any]]
        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500) as client:
            while time.monotonic() < deadline:
                self._raise_if_ended()
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    time.sleep(POLL_S)
                else:
                    return
        self.kill()
        raise TimeoutError(f"secantusd-py did not answer within {timeout_s} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
