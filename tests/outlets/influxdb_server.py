"""A real InfluxDB 1.x (Debian's influxd), started and stopped as a child process, with log-in, on a folder of its own."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from broker_process import eventually

from local.parent_death import ending_with_parent
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

USER, PASSWORD = "writer", "pass:word/ü"
ADMIN = ("admin", "secret")
START_DEADLINE_S = 60.0
CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = true
  log-enabled = false
  max-body-size = {max_body_bytes}
"""


class InfluxDBServer:
    """One server at 127.0.0.1:`port`; keeps port and data over restarts."""

    def __init__(self, folder: Path, *, max_body_bytes: int = 25_000_000) -> None:
        self._folder = folder
        self._max_body_bytes = max_body_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._rpc_port = free_port(), free_port()

    def start(self) -> None:
        """Start the server and return when it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "influxdb.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=self._folder, port=self.port, rpc_port=self._rpc_port, max_body_bytes=self._max_body_bytes
            )
        )
        command = ["influxd", "run", "-config", str(configuration)]
        with (self._folder / "influxd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ending_with_parent(command, signal.SIGTERM), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self._answers, "influxd answers", START_DEADLINE_S)
        self.query(f"CREATE USER {ADMIN[0]} WITH PASSWORD '{ADMIN[1]}' WITH ALL PRIVILEGES")

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL). Harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(30)

    def pause(self) -> None:
        """Stop the server from answering (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def create(self, database: str) -> None:
        """Make an empty database that USER may write to."""
        self.query(f'DROP DATABASE "{database}"')
        self.query(f'CREATE DATABASE "{database}"')
        self.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}'")
        self.query(f'GRANT WRITE ON "{database}" TO {USER}')

    def rows(self, database: str, query: str = 'SELECT * FROM "messages"') -> list[dict[str, Any]]:
        """Return what a query answers, times in nanoseconds; columns without a value are left out."""
        (result,) = self.query(query, database)["results"]
        return [
            {name: value for name, value in zip(series["columns"], values, strict=True) if value is not None}
            for series in result.get("series", ())
            for values in series["values"]
        ]

    def query(self, query: str, database: str = "") -> dict[str, Any]:
        """Ask as the administrator and return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            target = "/query?" + urlencode({"q": query, "db": database, "epoch": "ns"})
            login = b64encode(":".join(ADMIN).encode()).decode()
            connection.request("POST", target, headers={"Authorization": f"Basic {login}"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "influxd.log").read_text(errors="replace")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
