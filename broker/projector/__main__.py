"""Entry point of the projector's process: settings -> store -> projector, until SIGTERM or the end of standard input."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.projector.projector import Projector
from broker.start import start, watch_parent
from store.connection import connect_async

if TYPE_CHECKING:
    from settings import Settings


CATCH_UP_S = 2.0


async def project(configuration: Settings) -> int:
    """Run a projector until SIGTERM or until whoever started this process is gone. Returns the exit status."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the broker too, which says when to stop
    await watch_parent(stopping.set)
    async with contextlib.aclosing(connect_async(configuration, retries=0)) as client:
        projector = Projector(client, configuration, uuid4().hex[:12], lambda: time.time_ns() // 1_000_000)
        running = asyncio.create_task(projector.run())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(TimeoutError):  # the log keeps what is not projected then
            await asyncio.wait_for(projector.catch_up(), CATCH_UP_S)
        while not running.done():
            running.cancel()
            await asyncio.wait((running,), timeout=0.2)
        stop.cancel()
        if not running.cancelled():
            running.result()
    return 0


if __name__ == "__main__":
    sys.exit(start(project))
