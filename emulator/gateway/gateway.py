"""The gateway's life: boot the containers, listen, do what the schedule and people say, stop all, sum up."""

from __future__ import annotations

import asyncio
import heapq
import os
import resource
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.gateway.console import Console
from emulator.gateway.container import HAS_PROC, BootError
from emulator.gateway.control import Control, ControlError
from emulator.gateway.formation import ActionError, Formation, Release
from emulator.gateway.forwarding import Forwarder
from emulator.gateway.schedule import chaos, timetable
from emulator.gateway.summary import summary
from emulator.gateway.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, BinaryIO

    from emulator.gateway.actions import Action
    from emulator.gateway.arguments import Options
    from emulator.gateway.schedule import Timetable

SPARE_DESCRIPTORS = 128  # for the containers' pipes, the control socket and Python itself
MAX_CONNECTIONS = 50_000


class GatewayError(Exception):
    """The gateway could not start; the message is one line for people."""


class Gateway:
    """One run. A signal ends it; a second one does not wait for the containers."""

    def __init__(self, options: Options, opened: ExitStack) -> None:
        """Bind the port and open the output; `opened` closes both. Raises GatewayError."""
        self._options = options
        self._listener = opened.enter_context(_bound(options.host, options.port))
        self._url = f"tcp://{options.host}:{self._listener.getsockname()[1]}"
        self._console = Console(opened.enter_context(_created(options.output)) if options.output else None)
        self._totals = Totals()
        self._forwarder = Forwarder(self._totals, _affordable_connections())
        self._formation = Formation(self._release(), self._console, self._forwarder)
        self._control = Control(options.control, self._perform)
        self._performing: set[asyncio.Task[Any]] = set()
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._started_s = time.monotonic()

    async def run(self) -> None:
        """Run until a signal or the duration's end, then print the summary. Raises GatewayError."""
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._on_signal)
        try:
            await self._control.open()
            await self._until_stopped(self._live())
        except (ControlError, BootError) as error:
            raise GatewayError(str(error)) from None
        finally:
            await self._stop()
        self._console.show(summary(self._totals, time.monotonic() - self._started_s))

    def _on_signal(self) -> None:
        if self._stopped.is_set():
            self._hurried.set()
        self._stopped.set()

    async def _until_stopped(self, life: Coroutine[Any, Any, None]) -> None:
        living, stopped = asyncio.create_task(life), asyncio.create_task(self._stopped.wait())
        await asyncio.wait((living, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living

    async def _live(self) -> None:
        options = self._options
        self._console.say(f"{options.containers} x `{options.command}`")
        if options.memory_bytes is not None and not HAS_PROC:
            self._console.say("no /proc on this system: containers are not held to a size")
        await self._formation.boot(options.containers)
        await self._forwarder.listen(self._listener)
        self._console.say(f"listens at {self._url}; actions through {options.control}")
        with suppress(TimeoutError):
            async with asyncio.timeout(options.duration_s):
                await self._follow(self._timetable())

    def _timetable(self) -> Timetable:
        options = self._options
        scripted = timetable(options.schedule)
        if options.chaos_seed is None:
            return scripted
        self._console.say(f"chaos with seed {options.chaos_seed}; its lines `at …` can be a --schedule")
        random = chaos(options.chaos_seed, options.chaos_verbs, options.chaos_every_s, options.containers)
        return heapq.merge(scripted, random, key=itemgetter(0))

    async def _follow(self, due: Timetable) -> None:
        began_s = time.monotonic()
        for at_s, action in due:
            await asyncio.sleep(began_s + at_s - time.monotonic())
            self._console.say(f"at {at_s:.1f} {action}")
            task = asyncio.create_task(self._perform_unasked(action))  # may take long: what is due next does not wait
            self._performing.add(task)
            task.add_done_callback(self._performing.discard)
        await self._stopped.wait()

    async def _perform_unasked(self, action: Action) -> None:
        with suppress(ActionError):  # it is on the console
            await self._perform(action)

    async def _perform(self, action: Action) -> str:
        task = asyncio.create_task(self._formation.perform(action))
        self._performing.add(task)
        task.add_done_callback(self._performing.discard)
        try:
            answer = await task
        except asyncio.CancelledError:
            raise ActionError(f"{action} failed: the gateway stops") from None
        except ActionError as error:
            self._console.say(str(error))
            raise
        if action.verb != "status":
            self._console.say(answer)
        return answer

    async def _stop(self) -> None:
        self._console.say("stopping …")
        self._control.close()
        self._forwarder.stop_listening()
        for task in self._performing:
            task.cancel()
        await asyncio.gather(*self._performing, return_exceptions=True)
        await self._formation.close(self._hurried)
        await self._forwarder.close()

    def _release(self) -> Release:
        options = self._options
        # The interpreter that runs the gateway runs the Procfile's `python` too.
        path = os.pathsep.join([str(Path(sys.executable).parent), options.environ.get("PATH", os.defpath)])
        environ = {**options.environ, "TCP_URL": self._url, "PATH": path}
        if options.memory_bytes is not None:
            environ["CONTAINER_MEMORY"] = str(options.memory_bytes)
        return Release(options.command, options.root, environ, options.rate, options.burst, options.memory_bytes)


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise GatewayError(f"No listening on {host}:{port}: {error.strerror}. Choose another --port.") from None
    return listener


def _created(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise GatewayError(f"--output {path}: {error.strerror}") from None


def _affordable_connections() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + SPARE_DESCRIPTORS
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return (limit - SPARE_DESCRIPTORS) // 2
