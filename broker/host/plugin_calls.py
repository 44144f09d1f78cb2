"""Calls a plugin's coroutine methods: bounded in time, whatever they do; what fails is logged, but never for each message."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0


class PluginFailedError(Exception):
    """A plugin raised or did not answer in time; it has been logged."""


class FailureLog:
    """Logs each kind of failure of each plugin once in `LOG_INTERVAL_S`, with the number of those left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, plugin: str, failure: str, error: BaseException | None = None) -> None:
        """Log a failure unless one like it was logged a short time ago."""
        kind = (plugin, type(error).__name__ if error is not None else failure)
        now = self._monotonic()
        logged_at, left_out = self._last.get(kind, (float("-inf"), 0))
        if now - logged_at < LOG_INTERVAL_S:
            self._last[kind] = (logged_at, left_out + 1)
            return
        self._last[kind] = (now, 0)
        before = f" ({left_out} more like it since the last one)" if left_out else ""
        log.error("Plugin %s %s%s.", plugin, failure, before, exc_info=error)


class PluginCalls:
    """Calls with one time-out for all. Lives in the plugins' event loop."""

    def __init__(self, timeout_s: float, failures: FailureLog) -> None:
        self._timeout_s = timeout_s
        self._failures = failures
        self._abandoned: set[asyncio.Future[Any]] = set()  # the event loop itself keeps no hold on a task

    async def call(self, plugin: object, method: Callable[..., Coroutine[Any, Any, Any]], **arguments: object) -> Any:
        """Return what the method returns. Raises PluginFailedError."""
        name, action = type(plugin).__name__, getattr(method, "__name__", "an event")
        task = asyncio.ensure_future(method(**arguments))
        try:
            # Not wait_for, which would go on waiting for a plugin that swallows its cancellation.
            await asyncio.wait({task}, timeout=self._timeout_s)
        finally:
            self._abandon(task)
        if not task.done():
            self._failures.note(name, f"did not finish {action} within {self._timeout_s:g} s")
            raise PluginFailedError
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._failures.note(name, f"failed in {action}", error)
            raise PluginFailedError
        return task.result()

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        if not task.done():
            task.cancel()
            self._abandoned.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # taken note of: the time-out was logged
