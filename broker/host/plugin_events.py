"""Events on their way to one plugin: in order, in the background, bounded. A slow plugin delays and loses only its own."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from broker.host.plugin_calls import PluginFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from broker.host.interface import Event
    from broker.host.plugin_calls import PluginCalls

MAX_WAITING_EVENTS = 10_000


class PluginEvents:
    """The events of one plugin. `put` is called in the broker's thread, `run` is a task in the plugins' event loop."""

    def __init__(
        self, plugin: object, handlers: dict[Event, Callable[..., Coroutine[Any, Any, None]]], calls: PluginCalls
    ) -> None:
        self.handlers = handlers
        self.dropped = 0
        self._plugin = plugin
        self._calls = calls
        self._waiting: deque[tuple[Event, dict[str, Any], Future[None] | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._is_idle = False

    def put(self, event: Event, arguments: dict[str, Any], done: Future[None] | None = None) -> None:
        """Add an event; beyond `MAX_WAITING_EVENTS` it is dropped and counted, except one that is waited for (`done`)."""
        if len(self._waiting) >= MAX_WAITING_EVENTS and done is None:
            self.dropped += 1
            return
        self._waiting.append((event, arguments, done))
        if self._is_idle and self._loop is not None:
            self._is_idle = False  # one wake-up, however many events follow before the plugin's thread runs
            self._loop.call_soon_threadsafe(self._wake.set)

    def end(self) -> None:
        """Hand nothing on any more: the plugins' event loop is about to close."""
        self._loop = None

    async def run(self) -> None:
        """Hand the events on, one after another, for ever."""
        self._loop = asyncio.get_running_loop()
        while True:
            while self._waiting:
                await self._hand_on(*self._waiting.popleft())
            self._wake.clear()
            self._is_idle = True
            if not self._waiting:  # else one was put between the last look and the line above
                await self._wake.wait()
            self._is_idle = False

    async def _hand_on(self, event: Event, arguments: dict[str, Any], done: Future[None] | None) -> None:
        try:
            await self._calls.call(self._plugin, self.handlers[event], **arguments)
        except PluginFailedError:
            pass  # logged; the next event may fare better
        finally:
            if done is not None and not done.done():
                done.set_result(None)


class Listeners:
    """All plugins that listen, by event. An event that nobody listens to is not in the table."""

    def __init__(self, plugins: Sequence[PluginEvents]) -> None:
        self._plugins = plugins
        self._by_event: dict[Event, tuple[PluginEvents, ...]] = {
            event: tuple(plugin for plugin in plugins if event in plugin.handlers)
            for event in {event for plugin in plugins for event in plugin.handlers}
        }

    @property
    def dropped(self) -> int:
        """Events that were dropped because a plugin was too slow."""
        return sum(plugin.dropped for plugin in self._plugins)

    def listens(self, event: Event) -> bool:
        """Tell whether any plugin listens; the answer never changes."""
        return event in self._by_event

    def fire(self, event: Event, **arguments: object) -> None:
        """Let every plugin that listens know, in the background."""
        for plugin in self._by_event.get(event, ()):
            plugin.put(event, arguments)

    async def fire_and_wait(self, event: Event, timeout_s: float) -> None:
        """Return when every plugin that listens has dealt with it and with all before it, or after `timeout_s`."""
        dealt_with: list[asyncio.Future[None]] = []
        for plugin in self._by_event.get(event, ()):
            done: Future[None] = Future()
            plugin.put(event, {}, done)
            dealt_with.append(asyncio.wrap_future(done))
        if dealt_with:
            await asyncio.wait(dealt_with, timeout=timeout_s)
