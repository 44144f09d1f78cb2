"""A thread with an event loop of its own for everything that plugins do.

Password hashing, LDAP and many a user's plugin block for as long as they work. Here they hold up one another, never the
data path; a plugin that never returns costs this thread and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future
    from typing import Any

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 1.0
T = TypeVar("T")


class PluginThread:
    """Runs coroutines in its own loop. It is a daemon: a plugin that never returns cannot keep the process alive."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="plugins", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine there. Callable from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        """Cancel what runs there and end the thread; leave it behind after `STOP_TIMEOUT_S`."""
        self._is_stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            log.warning("A plugin blocks its thread and is left behind.")

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._run_until_stopped()
            self.loop.run_until_complete(self._end_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def _run_until_stopped(self) -> None:
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt):  # these two leave an event loop
            log.error("A plugin tried to end the process.")  # noqa: TRY400  who it was is logged where it was called

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S / 2)
