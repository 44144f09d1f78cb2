"""The containers as a whole: started, replaced, scaled and stopped as the platform does it.

Every replacement overlaps: the new containers are ready and get all new connections before the old ones get SIGTERM.
Source: the platform's documentation of its container management, crashes and TCP Gateway.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulator.gateway.actions import container_name
from emulator.gateway.container import BootError, Container, outcome
from emulator.gateway.cool_off import STABLE_S, after_crash_s, after_failed_boot_s
from emulator.gateway.memory_limit import MemoryLimit
from emulator.gateway.packet_rate import PacketRate
from emulator.gateway.totals import OUT_OF_MEMORY, Ending
from emulator.process_memory import mebibytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from emulator.gateway.actions import Action
    from emulator.gateway.console import Console
    from emulator.gateway.forwarding import Forwarder

READY_TIMEOUT_S = 60  # the platform's Boot Timeout Error
GRACE_S = 30  # from SIGTERM to SIGKILL


class ActionError(Exception):
    """An action that could not be done; the message is one line. What ran before still runs."""


@dataclass(frozen=True)
class Release:
    """What a container is made of: the command, its folder, its environment, its packet rate and memory (None: no limit)."""

    command: str
    root: Path
    environ: Mapping[str, str]
    rate: float | None
    burst: float
    memory_bytes: int | None = None


class Formation:
    """All containers of a run. `boot` first, then `perform` as often as wanted, `close` last."""

    def __init__(self, release: Release, console: Console, forwarder: Forwarder) -> None:
        self._release = release
        self._console = console
        self._forwarder = forwarder
        self._totals = forwarder.totals
        self._began_s = time.monotonic()
        self._count = 0
        self._alive: set[Container] = set()  # all with a process: booting, serving, leaving
        self._serving: dict[int, Container] = {}
        self._crashes: dict[int, int] = {}
        self._replacing: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._under_way = ""
        self._is_closing = False
        self._limiting: asyncio.Task[None] | None = None
        self._verbs: dict[str, Callable[[Action], Awaitable[str]]] = {
            "deploy": self._deploy,
            "restart": self._restart,
            "scale": self._scale,
            "kill": self._signal,
            "stop": self._signal,
            "cont": self._continue,
            "status": self._status,
        }

    async def boot(self, count: int) -> None:
        """Start the first `count` containers and return when all are ready. Raises BootError; none runs on then."""
        self._count = count
        if self._release.memory_bytes is not None:
            limit = MemoryLimit(self._release.memory_bytes, lambda: self._alive)
            self._limiting = asyncio.create_task(limit.watch())
        self._switch(await self._boot_all(range(1, count + 1), self._boot))

    async def perform(self, action: Action) -> str:
        """Do `action` and return what came of it. Raises ActionError."""
        try:
            answer = await self._verbs[action.verb](action)
        except (ActionError, BootError) as error:
            self._totals.failed[action.verb] += 1
            raise ActionError(f"{action} failed: {error}") from None
        if action.verb != "status":
            self._totals.done[action.verb] += 1
        return answer

    async def close(self, is_hurried: asyncio.Event) -> None:
        """Stop all containers as the platform would; kill them as soon as `is_hurried` is set."""
        self._is_closing = True
        for task in self._replacing.values():
            task.cancel()
        self._forwarder.serve(())
        for container in list(self._serving.values()):
            self._retire(container)
        for container in self._alive:
            container.resume()  # frozen by an action, it could not hear SIGTERM
        hurry = asyncio.create_task(is_hurried.wait())
        while self._leaving and not hurry.done():
            await asyncio.wait({hurry, *self._leaving}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for container in self._alive:
            container.kill()
        await asyncio.gather(*(container.ended.wait() for container in list(self._alive)), *self._leaving)
        if self._limiting is not None:
            self._limiting.cancel()

    async def _deploy(self, action: Action) -> str:
        began_s = time.monotonic()
        with self._sole(action):
            self._switch(await self._boot_all(range(1, self._count + 1), self._boot))
            self._crashes.clear()
        return f"deployed in {time.monotonic() - began_s:.1f} s: new connections go to the new containers"

    async def _restart(self, action: Action) -> str:
        numbers = list(range(1, self._count + 1)) if action.number is None else [action.number]
        if numbers[-1] > self._count:
            raise ActionError(f"there is no {container_name(numbers[-1])}")
        with self._sole(action):
            self._switch(await self._boot_all(numbers, self._boot_patiently))
        return f"restarted {', '.join(map(container_name, numbers))}"

    async def _scale(self, action: Action) -> str:
        count = action.number or 1
        with self._sole(action):
            before, missing = self._count, range(self._count + 1, count + 1)
            self._switch(await self._boot_all(missing, self._boot_patiently))
            self._count = count
            for number in range(count + 1, before + 1):
                self._drop(number)
        return f"scaled from {before} to {count}"

    async def _signal(self, action: Action) -> str:
        container = self._serving.get(action.number or 0)
        if container is None:
            raise ActionError(f"no {container_name(action.number or 0)} serves")
        {"kill": container.kill, "stop": container.pause}[action.verb]()
        if action.verb == "kill":
            await container.ended.wait()
        return f"{container.label} got SIG{action.verb.upper()}"

    async def _continue(self, action: Action) -> str:
        """Wake all of this name: what was stopped may have been replaced meanwhile, and leave only now."""
        named = [each for each in self._alive if each.number == action.number]
        if not named:
            raise ActionError(f"there is no {container_name(action.number or 0)}")
        for container in named:
            container.resume()
        return f"{' and '.join(sorted(each.label for each in named))} got SIGCONT"

    async def _status(self, _action: Action) -> str:
        lines = [self._status_line(each) for each in sorted(self._alive, key=lambda each: (each.number, each.pid))]
        return "\n".join([*lines, self._forwarder.state])

    def _status_line(self, container: Container) -> str:
        is_serving = self._serving.get(container.number) is container
        held = "" if container.peak_bytes is None else f"  at most {mebibytes(container.peak_bytes)}"
        state = "serving" if is_serving else "booting" if container.ready_after_s is None else "leaving"
        return f"{container.label:<14} {state}  port {container.port}  {len(container.connections):,} connections{held}"

    @contextmanager
    def _sole(self, action: Action) -> Iterator[None]:
        if self._under_way:
            raise ActionError(f"{self._under_way} is under way")
        self._under_way = str(action)
        try:
            yield
        finally:
            self._under_way = ""

    async def _boot_all(self, numbers: Iterable[int], boot: Callable[[int], Awaitable[Container]]) -> list[Container]:
        """Boot these containers at once; when one cannot, none stays. Raises BootError."""
        boots = [asyncio.ensure_future(boot(number)) for number in numbers]
        try:
            return list(await asyncio.gather(*boots))
        except (BootError, asyncio.CancelledError):
            for each in boots:
                each.cancel()
            for booted in await asyncio.gather(*boots, return_exceptions=True):
                if isinstance(booted, Container):
                    self._retire(booted)
            raise

    async def _boot_patiently(self, number: int) -> Container:
        boots = 0
        while True:
            try:
                return await self._boot(number)
            except BootError as error:
                boots += 1
                pause_s = after_failed_boot_s(boots)
                if pause_s is None:
                    raise
                self._console.say(f"{error}; the next try in {pause_s:g} s")
                await asyncio.sleep(pause_s)

    async def _boot(self, number: int) -> Container:
        release = self._release
        rate = PacketRate(release.rate, release.burst) if release.rate is not None else None
        container = Container(number, self._console, rate)
        container.on_end = self._on_end
        self._alive.add(container)
        self._totals.containers += 1
        try:
            await container.start(release.command, release.root, release.environ)
            await container.await_ready(READY_TIMEOUT_S)
        except BaseException:
            self._totals.never_ready += 1
            self._give_up(container)
            raise
        return container

    def _give_up(self, container: Container) -> None:
        if container.pid:
            container.kill()
        else:
            self._alive.discard(container)  # its process never was

    def _switch(self, fresh: Iterable[Container]) -> None:
        """Send all new connections to `fresh` instead of those they replace, and tell these to leave."""
        replaced = []
        for container in fresh:
            self._stop_replacing(container.number)
            if container.number in self._serving:
                replaced.append(self._serving[container.number])
            self._serving[container.number] = container
        self._serve()
        for old in replaced:
            self._retire(old)

    def _serve(self) -> None:
        self._forwarder.serve([self._serving[number] for number in sorted(self._serving)])

    def _stop_replacing(self, number: int) -> None:
        replacing = self._replacing.pop(number, None)
        if replacing is not None and replacing is not asyncio.current_task():
            replacing.cancel()

    def _drop(self, number: int) -> None:
        self._stop_replacing(number)
        container = self._serving.pop(number, None)
        self._serve()
        if container is not None:
            self._retire(container)

    def _retire(self, container: Container) -> None:
        self._console.say(f"SIGTERM; {len(container.connections):,} connections", container.label)
        task = asyncio.create_task(container.leave(GRACE_S))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _on_end(self, container: Container) -> None:
        self._alive.discard(container)
        for connection in list(container.connections):
            connection.container_ended()
        self._record(container)
        if self._serving.get(container.number) is container:
            del self._serving[container.number]
            self._serve()
            self._start_again(container)

    def _record(self, container: Container) -> None:
        words = OUT_OF_MEMORY if container.is_out_of_memory else outcome(container.status or 0)
        left_after_s = container.left_after_s
        after = "" if left_after_s is None else f", {left_after_s:.2f} s after SIGTERM"
        self._console.say(f"ended with {words}{after}", container.label)
        ready_after_s, is_late = container.ready_after_s, container.was_killed_late
        held, at_s = container.peak_bytes, time.monotonic() - self._began_s
        self._totals.endings.append(Ending(container.label, words, ready_after_s, left_after_s, is_late, held, at_s))

    def _start_again(self, container: Container) -> None:
        if self._is_closing:
            return
        crashes = 1 if container.age_s > STABLE_S or container.is_killed else self._crashes.get(container.number, 0) + 1
        self._crashes[container.number] = crashes
        pause_s = after_crash_s(crashes)
        if pause_s is None:
            self._console.say("crashed too often: it is not started again", container.name)
            return
        self._console.say(f"crashed: started again in {pause_s:g} s", container.name)
        self._replacing[container.number] = asyncio.create_task(self._replace(container.number, pause_s))

    async def _replace(self, number: int, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        try:
            container = await self._boot_patiently(number)
        except BootError as error:
            self._console.say(f"{error}: it is not started again", container_name(number))
            return
        self._switch([container])
