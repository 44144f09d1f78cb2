"""Entry point of the `tcp` process: settings -> store -> broker -> server, until SIGTERM."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.application import Application
from broker.start import start

if TYPE_CHECKING:
    from settings import Settings


async def serve(settings: Settings) -> int:
    """Run the broker. Returns the exit status."""
    return await Application(settings).run()


if __name__ == "__main__":
    sys.exit(start(serve))
