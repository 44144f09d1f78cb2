"""Composition root of the `tcp` process: settings -> store -> broker -> server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import uvloop

import settings
from broker.application import Application


def main() -> int:
    """Run the broker until SIGTERM or SIGINT. Returns the exit status."""
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
        return runner.run(Application(configuration).run())


if __name__ == "__main__":
    sys.exit(main())
