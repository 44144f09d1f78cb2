"""Processes beside the broker: started by it, and started again should they die (docs/decisions/0003, 0008)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from store.outlet_state import outlet_names

if TYPE_CHECKING:
    from settings import Settings

log = logging.getLogger(__name__)

RESTART_S = 1.0
STOP_TIMEOUT_S = 3.0


class Child:
    """`python -m broker.NAME` as a child. It ends when its standard input does: also when this process is killed."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def run(self) -> None:
        """Keep one child running until cancelled; then stop it."""
        while True:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"broker.{self._name}", stdin=asyncio.subprocess.PIPE
            )
            try:
                status = await child.wait()
            finally:
                await _stop(child)
            log.error(
                "The process of broker.%s ended with status %d; starting it again. Nothing is lost: the log waits.",
                self._name,
                status,
            )
            await asyncio.sleep(RESTART_S)


def children(settings: Settings) -> list[Child]:
    """Return the processes that one container has beside its brokers: the projector, and what has outlets to write to."""
    names = ["projector", *(["outlets"] if outlet_names(settings) else [])]
    return [Child(name) for name in names]


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            child.kill()
