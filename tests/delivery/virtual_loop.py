"""Event loops whose time stands still until a test moves it, and whose connections to the store the test works off.

Every node has a loop of its own and they share a clock: a node that is killed is a loop that is not run any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 1_000.0
START_MS = 1_700_000_000_000


class Clock:
    """The time of all nodes and of the store."""

    def __init__(self) -> None:
        self.now_s = START_S

    def monotonic(self) -> float:
        """Seconds, for what lasts."""
        return self.now_s

    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        return START_MS + round((self.now_s - START_S) * 1000)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that does only what is due; `connect` is called for every connection that is opened."""

    def __init__(self, clock: Clock, connect: Callable[[asyncio.Protocol], asyncio.Transport]) -> None:
        super().__init__()
        self._clock = clock
        self._connect = connect

    def time(self) -> float:
        return self._clock.now_s

    async def create_unix_connection(self, factory: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        protocol = factory()
        transport = self._connect(protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def run_due(self) -> None:
        """Run every callback that is due, and those that they schedule, until none is left."""
        while self._ready or self._is_timer_due():  # type: ignore[attr-defined]
            self.stop()  # after one turn, as its documentation says
            self.run_forever()

    def _is_timer_due(self) -> bool:
        timers = self._scheduled  # type: ignore[attr-defined]
        return bool(timers) and timers[0].when() <= self._clock.now_s

    def abandon(self) -> None:
        """End what runs here, as far as Python has to know that it does."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.run_due()
        self.close()
