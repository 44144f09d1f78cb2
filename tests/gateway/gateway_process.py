"""The gateway as a developer runs it: `python -m emulator gateway` on a Procfile of its own, and clients of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from emulator.gateway.actions import parse_action
from emulator.gateway.control import ask

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TCP_PROCESS = Path(__file__).with_name("tcp_process.py")
TIMEOUT_S = 20.0


def eventually(condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Poll until `condition` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class GatewayProcess:
    """One gateway in `folder`; its control socket has a short path of its own."""

    def __init__(self, folder: Path, procfile: Path | None = None) -> None:
        self.folder = folder
        self._sockets = tempfile.TemporaryDirectory(prefix="gateway-")
        self.control = Path(self._sockets.name) / "control"
        self._output = folder / "gateway-output"
        self._procfile = procfile or folder / "Procfile"
        if procfile is None:
            self._procfile.write_text(f"web: false\ntcp: python {TCP_PROCESS}\n")
        self._process: subprocess.Popen[str] | None = None

    def launch(self, *arguments: str, **environ: str) -> GatewayProcess:
        """Start it without waiting; a free port, unless `arguments` name one."""
        command = [sys.executable, "-m", "emulator", "gateway", "--port", "0", "--control", str(self.control)]
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [*command, "--procfile", str(self._procfile), *arguments],
                cwd=ROOT,
                env={"PATH": os.defpath, **environ},
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
        return self

    def start(self, *arguments: str, **environ: str) -> GatewayProcess:
        """Start it and return when it listens."""
        self.launch(*arguments, **environ)
        eventually(lambda: "listens at" in self.output or self.process.poll() is not None, "it listens")
        assert self.process.poll() is None, self.output + self.finish()[1]
        return self

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def port(self) -> int:
        found = re.search(r"listens at tcp://127.0.0.1:(\d+)", self.output)
        assert found is not None
        return int(found[1])

    def act(self, words: str) -> str:
        """Have it do something. Raises ActionError."""
        return ask(self.control, parse_action(words.split()))

    def set_mode(self, mode: str) -> None:
        """Make the next containers of another kind: see tcp_process.py."""
        (self.folder / "mode").write_text(mode)

    @property
    def container_pids(self) -> list[int]:
        """Process ids of all containers started so far."""
        return [int(pid) for pid in re.findall(r"tcp-\d+\[(\d+)\] +started", self.output)]

    def finish(self, signal_number: int | None = None) -> tuple[int, str]:
        """Send a signal, if any, wait for the end, and return the exit status and what stood on standard error."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors

    def summary(self) -> str:
        """Stop it and return its closing lines."""
        assert self.finish(signal.SIGTERM) == (0, "")
        return self.output.partition("\nconnections ")[2]

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        for pid in self.container_pids if self._output.exists() else []:
            if is_alive(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._sockets.cleanup()


class Client:
    """One client that talks to a tcp_process.py through the gateway."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\n")

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        self.send(line)
        return self.receive_line()

    def who(self) -> tuple[str, int]:
        """Name and process id of the container."""
        name, pid = self.ask("who").split()
        return name, int(pid)

    def receive_line(self) -> str:
        data = b""
        while not data.endswith(b"\n"):
            received = self.socket.recv(4096)
            assert received, f"closed after {data!r}"
            data += received
        return data.decode().rstrip("\n")

    def receive_all(self) -> bytes:
        """Return what comes until the other side has closed."""
        data = bytearray()
        while received := self.socket.recv(65536):
            data += received
        return bytes(data)

    @property
    def has_news(self) -> bool:
        """Whether bytes or an end have arrived."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)
        return True
