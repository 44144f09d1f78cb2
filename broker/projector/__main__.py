"""Entry point of the projector's process: settings -> store -> projector, until SIGTERM or the end of standard input."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.projector.projector import Projector
from broker.projector.retention import Retention
from broker.start import cancel, start, watch_parent
from store.clock import wall_ms
from store.cluster_link import views_link
from store.connection import connect_async
from store.log_trimming import LogTrimming
from store.shedding import Shedding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settings import Settings


CATCH_UP_S = 2.0


async def project(configuration: Settings) -> int:
    """Run a projector until SIGTERM or until whoever started this process is gone. Returns the exit status."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the broker too, which says when to stop
    await watch_parent(stopping.set)
    node_id = uuid4().hex[:12]
    async with (
        contextlib.aclosing(connect_async(configuration, retries=0)) as client,
        retaining(configuration, node_id) as retention,
    ):
        projector = Projector(client, configuration, node_id, wall_ms, lambda: retention.is_exhausted)
        running = asyncio.create_task(projector.run())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(TimeoutError):  # the log keeps what is not projected then
            await asyncio.wait_for(projector.catch_up(), CATCH_UP_S)
        await cancel(running)
        stop.cancel()
        if not running.cancelled():
            running.result()
    return 0


@contextlib.asynccontextmanager
async def retaining(configuration: Settings, node_id: str) -> AsyncIterator[Retention]:
    """Have the store's memory watched meanwhile, over connections of their own: it has to go on while projection waits."""
    async with contextlib.aclosing(connect_async(configuration, retries=0)) as client:
        link = views_link(client, configuration)
        trimming, shedding = LogTrimming(client, configuration, link), Shedding(client, configuration, link)
        retention = Retention(shedding, configuration, trimming.trim, node_id, wall_ms)
        tasks = [asyncio.create_task(run) for run in (retention.run(), link.run())]
        try:
            yield retention
        finally:
            for task in tasks:
                await cancel(task)


if __name__ == "__main__":
    sys.exit(start(project))
