"""One container: a real `tcp` process on a port of its own, from its start to its end."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from emulator.gateway.actions import container_name
from emulator.process_memory import mebibytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from emulator.gateway.console import Console
    from emulator.gateway.forwarding import Connection
    from emulator.gateway.packet_rate import PacketRate

HOST = "127.0.0.1"
PORTS = range(21_000, 32_000)  # below those that systems give to outgoing connections, which would take them
PROBE_INTERVAL_S, PROBE_TIMEOUT_S = 0.1, 5.0
PF_EXITING = 0x4  # linux/sched.h: the process is being taken down; set before its sockets are closed
HAS_PROC = Path("/proc/self/stat").exists()  # elsewhere only its own kills tell the gateway
OUTPUT_TIMEOUT_S = 1.0  # for the last lines, should a process outside the container hold its output open
_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))


class BootError(Exception):
    """A container that never got ready; the message is one line."""


class Container(asyncio.SubprocessProtocol):
    """A process in a session of its own. `start` once, then `await_ready`; `on_end` is called when it has ended."""

    def __init__(self, number: int, console: Console, rate: PacketRate | None) -> None:
        self.number = number
        self.name = container_name(number)
        self.rate = rate
        self.port = _free_port()
        self.pid = 0
        self.status: int | None = None  # as of waitpid: negative for a signal
        self.ready_after_s: float | None = None
        self.left_after_s: float | None = None
        self.was_killed_late = False
        self.peak_bytes: int | None = None  # None: nobody looks
        self.is_out_of_memory = False
        self.connections: set[Connection] = set()
        self.ended = asyncio.Event()
        self.on_end: Callable[[Container], None] = lambda _: None
        self._console = console
        self.is_killed = False  # by the gateway
        self._transport: asyncio.SubprocessTransport | None = None
        self._started_s = time.monotonic()
        self._terminated_s: float | None = None

    @property
    def label(self) -> str:
        """Name and process id: two containers of one name overlap during a deployment."""
        return f"{self.name}[{self.pid}]"

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started_s

    async def start(self, command: str, root: Path, environ: Mapping[str, str]) -> None:
        """Start `command` in the folder `root` with `environ` and the platform's variables of a container."""
        own = {"CONTAINER": self.name, "HOST": HOST, "PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self,
            # exec: signals reach the process itself, not a shell in front of it
            *_ending_with_gateway(["/bin/sh", "-c", f"exec {command}"]),
            cwd=root,
            env={**environ, **own},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = transport.get_pid() or 0
        self._console.say(f"started on port {self.port}", self.label)

    async def await_ready(self, timeout_s: float) -> None:
        """Return when it accepts a TCP connection. Raises BootError when it ends before, or takes too long."""
        while not await self._is_accepting():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), PROBE_INTERVAL_S)
            if self.status is not None:
                raise BootError(f"{self.label} ended with {outcome(self.status)} before it accepted a connection")
            if self.age_s > timeout_s:
                raise BootError(f"{self.label} accepted no connection on PORT within {timeout_s:g} s")
        self.ready_after_s = self.age_s
        self._console.say(f"ready after {self.ready_after_s:.2f} s", self.label)

    async def leave(self, grace_s: float) -> None:
        """SIGTERM to the process, SIGKILL to all of the container after `grace_s` seconds; return when it has ended."""
        self._terminated_s = time.monotonic()
        self._send(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), grace_s)
        if self.status is None:
            self.was_killed_late = True
            self.kill()
            await self.ended.wait()

    def kill(self) -> None:
        """SIGKILL, as a machine's failure or the platform's patience would."""
        self.is_killed = True
        self._send_all(signal.SIGKILL)

    def kill_for_memory(self, held_bytes: int) -> None:
        """SIGKILL because its processes hold too much, as the kernel would. It counts as a crash."""
        if self.status is None and not self.is_out_of_memory:
            self.is_out_of_memory = True
            self._console.say(f"OOM: it holds {mebibytes(held_bytes)}; SIGKILL", self.label)
            self._send_all(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze all its processes (SIGSTOP): connections stay, nothing answers."""
        self._send_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._send_all(signal.SIGCONT)

    @property
    def is_going_down(self) -> bool:
        """Whether the kernel is closing its sockets, not the process itself; how it ended is not known yet."""
        return self.status is None and (self.is_killed or self.is_out_of_memory or _is_exiting(self.pid))

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:  # noqa: ARG002  of SubprocessProtocol
        """Pass on what it prints."""
        self._console.relay(self.label, cast("bytes", data))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to its process."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def process_exited(self) -> None:
        """Its first process has ended: so has the container, with all that runs in it."""
        self.status = cast("asyncio.SubprocessTransport", self._transport).get_returncode()
        if self._terminated_s is not None:
            self.left_after_s = time.monotonic() - self._terminated_s
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies only
            os.killpg(self.pid, signal.SIGKILL)
        asyncio.get_running_loop().call_later(OUTPUT_TIMEOUT_S, self._close)
        self.on_end(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  of SubprocessProtocol
        """All it printed has been read."""
        self._close()
        self._console.finish(self.label)
        self.ended.set()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send(self, signal_number: signal.Signals) -> None:
        if self._transport is not None:
            with suppress(ProcessLookupError):
                self._transport.send_signal(signal_number)

    def _send_all(self, signal_number: signal.Signals) -> None:
        if self.pid and self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal_number)

    async def _is_accepting(self) -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(HOST, self.port), PROBE_TIMEOUT_S)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


def outcome(status: int) -> str:
    """Return an exit status in words."""
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def _ending_with_gateway(command: list[str]) -> list[str]:
    # A killed gateway takes its containers along where util-linux is there to ask the kernel for it.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command


def _is_exiting(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return HAS_PROC  # it is gone already
    return bool(int(fields[6]) & PF_EXITING)  # proc(5): field 9, flags


def _free_port() -> int:
    for port in itertools.islice(_ports, len(PORTS)):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                listener.bind((HOST, port))
                return port
    raise BootError(f"no port from {PORTS.start} to {PORTS.stop} is free")
