"""The projector's process, started by the broker and started again should it die (docs/decisions/0003)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

log = logging.getLogger(__name__)

RESTART_S = 1.0
STOP_TIMEOUT_S = 3.0


class ProjectorProcess:
    """`python -m broker.projector` as a child. It ends when its standard input does: also when this process is killed."""

    async def run(self) -> None:
        """Keep one child running until cancelled; then stop it."""
        while True:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "broker.projector", stdin=asyncio.subprocess.PIPE
            )
            try:
                status = await child.wait()
            finally:
                await _stop(child)
            log.error("The projector ended with status %d; starting it again. Nothing is lost: the log waits.", status)
            await asyncio.sleep(RESTART_S)


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            child.kill()
