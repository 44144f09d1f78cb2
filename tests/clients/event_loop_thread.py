"""An event loop in a thread of its own, for clients that are written for asyncio and tests that are not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from foreign_client import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


class EventLoopThread:
    """Runs coroutines of other threads."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` returns, or raise what it raises; TimeoutError after `DEADLINE_S`."""

        async def bounded() -> Result:
            return await asyncio.wait_for(work, DEADLINE_S)

        return asyncio.run_coroutine_threadsafe(bounded(), self.loop).result()

    def close(self) -> None:
        """Cancel what still runs and end the thread."""
        self.run(self._cancel_rest())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE_S)
        self.loop.close()

    async def _cancel_rest(self) -> None:
        this = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not this and task.get_coro().__name__ != "bounded"]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
