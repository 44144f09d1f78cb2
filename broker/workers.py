"""Several nodes in one container on one port: a parent that starts them, and starts one again that ends.

Each worker is a broker process as it would be alone, listening with SO_REUSEPORT: the kernel spreads connections. The parent
serves nothing. It holds the port, runs the one projector and the one process of the outlets, passes signals on, and is held
by its workers through their standard input: they end when it does, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from broker.child import children
from broker.memory_plan import MemoryPlan
from broker.start import BAD_SETTINGS_STATUS, FAILED_STATUS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from settings import Settings

log = logging.getLogger(__name__)

WORKER_FLAG = "--worker"
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.1, 10.0
STEADY_S = 30.0  # a worker that lived this long did not die at its start
STOP_TIMEOUT_S = 20.0  # well above what a worker's drain takes, well below the platform's 30 s
LISTEN_CHECK_S = 0.02


class Workers:
    """The parent of `BROKER_WORKERS` broker processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Run the workers until SIGTERM or SIGINT.

        Returns the exit status: 0 after an orderly end of all, 1 if the port is taken, a worker did not end in order or a
        part of the parent failed, 2 if a setting cannot be honoured.
        """
        settings = self._settings
        try:
            reserved = reserve_port(settings.host, settings.port)
        except OSError as error:
            log.error("Cannot listen on %s:%s: %s", settings.host, settings.port, error.strerror or error)  # noqa: TRY400
            return FAILED_STATUS
        if warning := MemoryPlan.of(settings).warning(settings.container_memory):
            log.warning("%s", warning)
        with reserved:
            await self._run()
        return self._status

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        beside = [self._start(child.run()) for child in children(self._settings)]
        keeping = [self._start(self._keep(1))]
        await self._first_listens(keeping[0])  # an error that stops every worker's start is logged once
        keeping += [self._start(self._keep(number)) for number in range(2, self._settings.broker_workers + 1)]
        await asyncio.wait(keeping)
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)

    def _start(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run)
        task.add_done_callback(self._part_ended)
        return task

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("A part of the workers' parent failed; stopping.", exc_info=task.exception())
            self._stop_with(FAILED_STATUS)

    def _stop_with(self, status: int) -> None:
        self._status = max(self._status, status)
        self._stopping.set()

    async def _first_listens(self, first: asyncio.Task[None]) -> None:
        while not (first.done() or self._stopping.is_set()):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(self._settings.host, self._settings.port)
                writer.close()
                return
            await asyncio.sleep(LISTEN_CHECK_S)

    async def _keep(self, number: int) -> None:
        """Keep one worker running until the end."""
        loop = asyncio.get_running_loop()
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            started_s = loop.time()
            status = await self._run_worker()
            if self._stopping.is_set() or status == BAD_SETTINGS_STATUS:
                self._stop_with(status if status in (0, BAD_SETTINGS_STATUS) else FAILED_STATUS)
                return
            if loop.time() - started_s > STEADY_S:
                backoff_s = FIRST_BACKOFF_S
            log.error("Worker %d ended with status %d; starting it again in %g s.", number, status, backoff_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
            backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)

    async def _run_worker(self) -> int:
        """Run one worker to its end, which `_stopping` asks for, and return its exit status."""
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "broker", WORKER_FLAG, stdin=asyncio.subprocess.PIPE
            )
        except OSError as error:  # no memory, or too many processes
            log.error("A worker cannot be started: %s", error.strerror or error)  # noqa: TRY400
            return FAILED_STATUS
        ended, stop = asyncio.create_task(worker.wait()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            if not ended.done():
                worker.terminate()
                await asyncio.wait((ended,), timeout=STOP_TIMEOUT_S)
            if not ended.done():
                log.error("A worker did not stop within %g s; it is killed.", STOP_TIMEOUT_S)
                worker.kill()
        return await ended


def reserve_port(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port for this user's processes which share it. Raises OSError where it is taken.

    Whoever has the port already is noticed, also another parent: the socket is bound as one that does not share, and
    shares only then.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    reserved = socket.socket(family, kind, protocol)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(address)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        reserved.close()
        raise
    return reserved
