"""Entry point of the `tcp` process: settings -> store -> broker -> server, until SIGTERM."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.application import FENCED, Application
from broker.start import start

if TYPE_CHECKING:
    from settings import Settings


async def serve(settings: Settings) -> int:
    """Run the broker, as one node after another where the others have given it up. Returns the exit status."""
    while (status := await Application(settings).run()) == FENCED:
        pass
    return status


if __name__ == "__main__":
    sys.exit(start(serve))
