"""Entry point of the `tcp` process: settings -> store -> broker -> server, until SIGTERM."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.start import FAILED_STATUS, start
from broker.workers import WORKER_FLAG, Workers

if TYPE_CHECKING:
    from settings import Settings


async def serve(settings: Settings) -> int:
    """Run the broker, or the parent of several, and return the exit status.

    Where the other nodes have declared this one dead, another one follows in this process.
    """
    is_worker = WORKER_FLAG in sys.argv[1:]
    if settings.broker_workers > 1 and not is_worker:
        return await Workers(settings).run()
    from broker.application import FENCED, Application  # noqa: PLC0415  the parent of workers needs none of its memory

    while (status := await Application(settings, is_worker=is_worker).run()) == FENCED:
        if is_worker:
            return FAILED_STATUS  # its parent starts another
    return status


if __name__ == "__main__":
    sys.exit(start(serve))
