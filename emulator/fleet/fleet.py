"""The fleet's life: connect, publish in turn, wait for the last acknowledgements, leave, sum up."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from emulator.fleet.device import Device, NotConnectedError
from emulator.fleet.ledger import Ledger
from emulator.fleet.report import Progress, progress_line, summary

if TYPE_CHECKING:
    from emulator.fleet.arguments import Options

DIALLING_AT_ONCE = 100  # below the listen backlog of common brokers
BATCH = 1000  # readings before sockets get their turn again
TICK_S = 0.005
SPARE_DESCRIPTORS = 64


class FirstConnectionError(Exception):
    """The fleet could not start; the message is one line for people."""


class Fleet:
    """All devices of one run. A signal ends it early; a second one ends the wait for acknowledgements too."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ledger = Ledger()
        self._devices: list[Device] = []
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._started_s = time.monotonic()

    async def run(self) -> int:
        """Run to the end, print the summary, and return 0 when all that was sent is settled, else 1.

        Raises FirstConnectionError when the first device cannot connect: host, port or password are likely wrong.
        """
        _allow_descriptors(self._options.devices)
        await self._connect_first()
        self._stop_on_signals()
        dialling = asyncio.Semaphore(DIALLING_AT_ONCE)
        tasks = [asyncio.create_task(device.stay_connected(dialling)) for device in self._devices]
        tasks += [asyncio.create_task(self._tend()), asyncio.create_task(self._show_progress())]
        await self._await_first_attempts()
        await self._publish_in_turn()
        await self._say_goodbye()
        await _end(tasks)
        await self._leave()
        return self._sum_up()

    async def _connect_first(self) -> None:
        options = self._options
        width = max(4, len(str(options.devices)))
        names = [f"{options.prefix}-{number:0{width}}" for number in range(1, options.devices + 1)]
        self._devices = [Device(name, options, self._ledger) for name in names]
        try:
            await self._devices[0].connect()
        except NotConnectedError as error:
            raise FirstConnectionError(f"No connection to {options.host}:{options.port}: {error}") from None

    def _stop_on_signals(self) -> None:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stopped.is_set():
            self._hurried.set()
        self._stopped.set()

    async def _await_first_attempts(self) -> None:
        attempts = asyncio.gather(*(device.attempted.wait() for device in self._devices))
        while not attempts.done() and not self._stopped.is_set():
            await _wait_at_most(self._stopped, TICK_S)
        attempts.cancel()

    async def _publish_in_turn(self) -> None:
        """Publish reading k = 0, 1, … at k / rate seconds after the start, by device k modulo the number of devices."""
        options, devices = self._options, self._devices
        total = None if options.duration_s is None else round(options.rate * options.duration_s)
        started_s, taken = time.monotonic(), 0
        while not self._stopped.is_set() and (total is None or taken < total):
            due = min(taken + BATCH, 1 + int((time.monotonic() - started_s) * options.rate))
            due = due if total is None else min(due, total)
            now_s = time.time()
            for index in range(taken, due):
                devices[index % len(devices)].publish_reading(now_s)
            taken = max(taken, due)
            await _wait_at_most(self._stopped, started_s + taken / options.rate - time.monotonic())

    async def _say_goodbye(self) -> None:
        deadline_s = time.monotonic() + self._options.drain_timeout_s
        await self._settle(deadline_s)
        for device in self._devices:
            device.say_goodbye()
        await self._settle(deadline_s)

    async def _settle(self, deadline_s: float) -> None:
        while self._ledger.awaited and time.monotonic() < deadline_s and not self._hurried.is_set():
            await _wait_at_most(self._hurried, TICK_S)

    async def _leave(self) -> None:
        leaving = [asyncio.create_task(device.leave()) for device in self._devices]
        timeout_s = 0 if self._hurried.is_set() else self._options.connect_timeout_s
        _, late = await asyncio.wait(leaving, timeout=timeout_s)
        for task in late:
            task.cancel()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(1)
            for device in self._devices:
                device.tend()

    async def _show_progress(self) -> None:
        is_terminal = sys.stderr.isatty()
        interval_s, start, end = (1, "\r\x1b[K", "") if is_terminal else (10, "", "\n")
        sent_before = 0
        while not self._options.is_quiet:
            await asyncio.sleep(interval_s)
            rate, sent_before = (self._ledger.sent - sent_before) / interval_s, self._ledger.sent
            print(start + progress_line(self._progress(rate), self._ledger), end=end, file=sys.stderr, flush=True)

    def _progress(self, rate: float) -> Progress:
        connected = sum(device.is_connected for device in self._devices)
        return Progress(time.monotonic() - self._started_s, connected, len(self._devices), rate)

    def _sum_up(self) -> int:
        if sys.stderr.isatty() and not self._options.is_quiet:
            print(file=sys.stderr)
        print(summary(self._ledger, time.monotonic() - self._started_s, self._options.qos), flush=True)
        return 0 if self._ledger.is_settled else 1


async def _wait_at_most(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(TICK_S, timeout_s))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):  # a defect; the cancellations asked for above are no Exception
            raise outcome


def _allow_descriptors(devices: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = devices + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise FirstConnectionError(f"{devices} devices need {wanted} open files; this user may open {hard}.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
