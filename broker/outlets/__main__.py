"""Entry point of the outlets' process: settings -> store -> a runner for each outlet, until SIGTERM or standard input ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.outlets.configured import configured_outlets
from broker.outlets.runner import OutletRunner
from broker.start import cancel, start, watch_parent
from store.clock import wall_ms
from store.connection import connect_async

if TYPE_CHECKING:
    from broker.outlets.outlet import Outlet
    from settings import Settings

NICENESS = 5  # the broker and the views come first
CANCEL_TRY_S = 2.0  # an orderly end takes less, and a second cancellation would cut it short


async def write_outlets(configuration: Settings) -> int:
    """Write to every outlet until SIGTERM or until whoever started this process is gone. Returns the exit status."""
    os.nice(NICENESS)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the broker too, which says when to stop
    await watch_parent(stopping.set)
    running = {
        asyncio.create_task(_write_outlet(outlet, configuration)) for outlet in configured_outlets(configuration)
    }
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((*running, stop), return_when=asyncio.FIRST_COMPLETED)
    await cancel(*running, try_s=CANCEL_TRY_S)  # what is not written then, the log keeps
    stop.cancel()
    for task in running:
        if not task.cancelled():
            task.result()
    return 0


async def _write_outlet(outlet: Outlet, configuration: Settings) -> None:
    async with contextlib.aclosing(connect_async(configuration, retries=0)) as client:
        node_id = uuid4().hex[:12]
        await OutletRunner(outlet, client, configuration, node_id, wall_ms).run()


if __name__ == "__main__":
    sys.exit(start(write_outlets))
