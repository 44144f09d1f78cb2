"""How a process of the broker starts: settings or one line for each bad one, a log, an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import uvloop

import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

FAILED_STATUS = 1
BAD_SETTINGS_STATUS = 2
CANCEL_TRY_S = 0.2


async def watch_parent(on_end: Callable[[], None]) -> None:
    """Have `on_end` called when standard input ends: whoever started this process and holds the other end is gone."""
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _StandardInput(on_end), sys.stdin)


async def cancel(*tasks: asyncio.Task[Any], try_s: float = CANCEL_TRY_S) -> None:
    """End tasks together; again after `try_s` where a client of a store lost a cancellation that met a time-out of its own."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=try_s)


class _StandardInput(asyncio.Protocol):
    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end

    def connection_lost(self, _: Exception | None) -> None:
        self._on_end()


def start(run: Callable[[settings.Settings], Coroutine[object, object, int]]) -> int:
    """Read the settings of the `tcp` process, run `run(settings)` to its end and return its exit status."""
    try:
        configuration = settings.load(os.environ, "tcp")  # noqa: TID251  an entry point
    except settings.SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return BAD_SETTINGS_STATUS
    logging.basicConfig(
        level=configuration.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(configuration))
