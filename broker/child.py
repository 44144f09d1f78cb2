"""Processes beside the broker: started by it, and started again when they end (docs/decisions/0003, 0008).

A child that ends again and again is started after ever longer pauses, up to LAST_BACKOFF_S. The broker serves meanwhile: what
the projector does not take stays in the log, until its bound slows publishers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from broker.start import BAD_SETTINGS_STATUS
from store.outlet_state import outlet_names

if TYPE_CHECKING:
    from settings import Settings

log = logging.getLogger(__name__)

FIRST_BACKOFF_S, LAST_BACKOFF_S = 1.0, 60.0
STEADY_S = 60.0  # a child that ran for this long did not fail at its start
LOG_INTERVAL_S = 60.0
STOP_TIMEOUT_S = 3.0


class Child:
    """`python -m broker.NAME` as a child. It ends when its standard input does: also when this process is killed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logged: int | str | None = None
        self._logged_s = float("-inf")
        self._not_logged = 0

    async def run(self) -> None:
        """Keep one child running until cancelled; then stop it."""
        loop = asyncio.get_running_loop()
        backoff_s = FIRST_BACKOFF_S
        while True:
            started_s = loop.time()
            status = await self._run_once()
            ended_s = loop.time()
            if ended_s - started_s > STEADY_S:
                backoff_s = FIRST_BACKOFF_S
            if status == BAD_SETTINGS_STATUS:
                backoff_s = LAST_BACKOFF_S  # somebody has to mend a setting first
            self._log_end(status, backoff_s, ended_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)

    async def _run_once(self) -> int | str:
        """Run a child to its end; return its exit status, or why it could not be started."""
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"broker.{self._name}", stdin=asyncio.subprocess.PIPE
            )
        except OSError as error:  # no memory, or too many processes
            return error.strerror or str(error)
        try:
            return await child.wait()
        finally:
            await _stop(child)

    def _log_end(self, status: int | str, backoff_s: float, now_s: float) -> None:
        """Log once in LOG_INTERVAL_S how it ended, or at once where that is new."""
        if status == self._logged and now_s - self._logged_s < LOG_INTERVAL_S:
            self._not_logged += 1
            return
        reason = f"ended with status {status}" if isinstance(status, int) else f"cannot be started: {status}"
        if status == BAD_SETTINGS_STATUS:
            reason = "does not start because of a setting, which its own line above names"
        before = f" (and {self._not_logged} times since the last such line)" if self._not_logged else ""
        self._logged, self._logged_s, self._not_logged = status, now_s, 0
        log.error(
            "The process of broker.%s %s%s. It is started again in %g s; the broker serves, and the log keeps messages for it.",
            self._name,
            reason,
            before,
            backoff_s,
        )


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
