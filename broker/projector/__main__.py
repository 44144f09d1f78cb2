"""Entry point of the projector's process: settings -> store -> projector, until SIGTERM or the end of standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from uuid import uuid4

import uvloop

import settings
from broker.projector.projector import Projector
from store.connection import connect_async


def main() -> int:
    """Project until told to stop. Returns the exit status."""
    try:
        configuration = settings.load(os.environ, "tcp")  # noqa: TID251  an entry point
    except settings.SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    logging.basicConfig(
        level=configuration.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(project(configuration))
    return 0


async def project(configuration: settings.Settings) -> None:
    """Run a projector until SIGTERM or until whoever started this process is gone."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the broker too, which says when to stop
    await loop.connect_read_pipe(lambda: _StandardInput(stopping), sys.stdin)
    async with connect_async(configuration, retries=0) as client:
        projector = Projector(client, configuration, uuid4().hex[:12], lambda: time.time_ns() // 1_000_000)
        running = asyncio.create_task(projector.run())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
        while not running.done():
            running.cancel()
            await asyncio.wait((running,), timeout=0.2)
        stop.cancel()
        if not running.cancelled():
            running.result()


class _StandardInput(asyncio.Protocol):
    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping

    def connection_lost(self, _: Exception | None) -> None:
        self._stopping.set()


if __name__ == "__main__":
    sys.exit(main())
