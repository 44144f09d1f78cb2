"""The brokers that are compared, each as a child process with defaults that let it run at its best."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO

import psutil

from local.valkey import EmbeddedValkey

ROOT = Path(__file__).resolve().parents[1]
BENCH = Path(__file__).resolve().parent
HOST = "127.0.0.1"
START_DEADLINE_S = 20


class Broker(ABC):
    """A broker with whatever it needs, running between `start` and `stop`."""

    name: str

    def __init__(self) -> None:
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """The command line."""

    def _environ(self) -> dict[str, str]:
        """The whole environment of the process."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin"}

    def start(self) -> None:
        """Start it and return when it accepts connections. Raises RuntimeError with its log when it does not."""
        self._log = (self.folder / "log").open("wb")
        self._process = subprocess.Popen(
            self._command(), env=self._environ(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        end = time.monotonic() + START_DEADLINE_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove its files."""
        _end(self._process)
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """The broker's process with its children, and its store's where it has one."""
        if self._process is None:
            raise RuntimeError("not started")
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU time used so far by all of `processes`."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def resident_bytes(self) -> int:
        """Memory of the broker's process alone."""
        return int(self.processes()[0].memory_info().rss)


class StoringBroker(Broker):
    """A broker with an empty Valkey of its own, without persistence: the same for everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.store = EmbeddedValkey(self.folder / "store", options=("--appendonly", "no"))

    def start(self) -> None:
        """Start the store, then the broker."""
        self.store.start()
        super().start()

    def stop(self) -> None:
        """End the broker, then the store."""
        process, self._process = self._process, None
        _end(process)
        self.store.stop()
        super().stop()

    def processes(self) -> list[psutil.Process]:
        """The broker's process and its store's."""
        return [*super().processes(), psutil.Process(self.store.pid)]


class Ours(StoringBroker):
    """This project's broker, its projector included."""

    name = "ours"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "broker"]

    def _environ(self) -> dict[str, str]:
        return {"HOST": HOST, "PORT": str(self.port), "REDIS_URL": self.store.url, "ALLOW_ANONYMOUS": "true"}


class Node(Broker):
    """One of several of this project's brokers on one store."""

    name = "node"

    def __init__(self, store_url: str) -> None:
        super().__init__()
        self._store_url = store_url

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "broker"]

    def _environ(self) -> dict[str, str]:
        return {"HOST": HOST, "PORT": str(self.port), "REDIS_URL": self._store_url, "ALLOW_ANONYMOUS": "true"}


class AedesXadd(StoringBroker):
    """Aedes that stores each message (XADD) before PUBACK; no views, no device records."""

    name = "aedes+xadd"

    def _command(self) -> list[str]:
        script = BENCH / "node_modules" / "aedes_xadd.mjs"
        return ["node", str(script), str(self.port), self.store.url.removeprefix("unix://")]

    def start(self) -> None:
        """Install what is missing, then start."""
        install_peers()
        super().start()


class Mosquitto(Broker):
    """Mosquitto, which stores nothing: the cost of the protocol alone, in C."""

    name = "mosquitto"

    def _command(self) -> list[str]:
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n"
            "max_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n"
        )
        return [
            shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "mosquitto",
            "-c",
            str(configuration),
        ]


BROKERS: dict[str, type[Broker]] = {each.name: each for each in (Ours, AedesXadd, Mosquitto)}


def install_peers() -> None:
    """Install the pinned npm packages into bench/node_modules, once for each change of peers/package.json."""
    target, pins = BENCH / "node_modules", (BENCH / "peers" / "package.json").read_text()
    target.mkdir(exist_ok=True)
    shutil.copy(BENCH / "peers" / "aedes_xadd.mjs", target)
    installed = target / "package.json"
    if installed.exists() and installed.read_text() == pins:
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(BENCH / "peers" / "package.json", folder)
        subprocess.run(["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        shutil.copytree(Path(folder) / "node_modules", target, dirs_exist_ok=True)
    installed.write_text(pins)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
