"""The fleet's life: connect, publish in turn, wait for the last acknowledgements, leave, verify, sum up."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.fleet.connection import NotConnectedError
from emulator.fleet.dashboard import DashboardError
from emulator.fleet.ledger import MAX_MESSAGES, Ledger
from emulator.fleet.report import Progress, progress_line, summary
from emulator.fleet.roster import Roster
from emulator.fleet.totals import Totals
from emulator.fleet.verification import Verification

if TYPE_CHECKING:
    from emulator.fleet.arguments import Options

DIALLING_AT_ONCE = 100  # below the listen backlog of common brokers
TICK_S = 0.005
SPARE_DESCRIPTORS = 64


class FirstConnectionError(Exception):
    """The fleet could not start; the message is one line for people."""


class Fleet:
    """All clients of one run. A signal ends it early; a second one ends the wait for acknowledgements too."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._totals = Totals()
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._started_s = time.monotonic()

    async def run(self) -> int:
        """Run to the end, print the summary, and return 0 when all that was sent is settled and verified, else 1.

        Raises FirstConnectionError when the first device or the dashboard does not answer, or a file cannot be
        written: host, port, password or path are likely wrong.
        """
        with ExitStack() as stack:
            self._open_ledger(stack)
            self._enlist()
            stack.callback(self._verification.close)
            await self._connect_first()
            self._stop_on_signals()
            tasks = self._tasks()
            await self._await_first_attempts()
            happening = [asyncio.create_task(self._roster.play()), asyncio.create_task(self._roster.send_commands())]
            await self._publish_in_turn()
            await _end(happening)
            await self._say_goodbye()
            is_settled = self._totals.is_settled and not self._roster.unsettled
            await self._leave()
            is_verified = await self._verify()
            await _end(tasks)
            await self._close()
            self._ledger.flush()
        return 0 if is_settled and is_verified else 1

    def _open_ledger(self, stack: ExitStack) -> None:
        options, file = self._options, None
        if options.ledger_path is not None:
            try:
                file = Path(options.ledger_path).open("w", encoding="utf-8")  # noqa: SIM115  the stack closes it
                stack.enter_context(file)
            except OSError as error:
                raise FirstConnectionError(f"--ledger: {options.ledger_path}: {error.strerror}") from None
        is_judged = options.dashboard is not None or options.scenario.watchers or options.scenario.commands
        self._ledger = Ledger(MAX_MESSAGES if is_judged else 0, file)

    def _enlist(self) -> None:
        options = self._options
        _allow_descriptors(sum(group.count for group in options.scenario.groups))
        self._roster = Roster(options.scenario, options.endpoint, self._ledger, self._totals)
        self._verification = Verification(self._ledger, self._roster.observers, options.dashboard, options.retention)

    async def _connect_first(self) -> None:
        endpoint = self._options.endpoint
        try:
            await self._verification.begin(self._roster.device_ids)
            for watcher in self._roster.watchers:
                await watcher.connect()
                await asyncio.wait_for(watcher.ready.wait(), endpoint.connect_timeout_s)
            await self._roster.publishers[0].connect()  # behind them: it says at once that it is there
        except NotConnectedError as error:
            raise FirstConnectionError(f"No connection to {endpoint.host}:{endpoint.port}: {error}") from None
        except TimeoutError:
            raise FirstConnectionError(f"{endpoint.host}:{endpoint.port} does not answer a SUBSCRIBE") from None
        except DashboardError as error:
            raise FirstConnectionError(f"--verify: {error}") from None
        self._roster.assemble()

    def _stop_on_signals(self) -> None:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stopped.is_set():
            self._hurried.set()
        self._stopped.set()

    def _tasks(self) -> list[asyncio.Task[None]]:
        dialling = asyncio.Semaphore(DIALLING_AT_ONCE)
        works = [connection.stay_connected(dialling) for connection in self._roster.connections]
        works += [self._tend(), self._show_progress(), self._verification.follow()]
        return [asyncio.create_task(work) for work in works]

    async def _await_first_attempts(self) -> None:
        started_s = time.monotonic()
        attempts = asyncio.gather(*(each.attempted.wait() for each in self._roster.connections))
        while not attempts.done() and not self._stopped.is_set():
            await _wait_at_most(self._stopped, TICK_S)
        attempts.cancel()
        progress = self._progress(0)
        self._totals.note_start(progress.connected, time.monotonic() - started_s)
        if not self._options.is_quiet:
            self._say(progress)

    async def _publish_in_turn(self) -> None:
        started_s, turns = time.monotonic(), self._roster.turns
        while turns and not self._stopped.is_set():
            for each in turns:
                each.take_due(time.monotonic() - started_s, time.time())
            turns = [each for each in turns if not each.is_over]
            next_s = min((each.due_s for each in turns), default=self._options.scenario.duration_s or 0.0)
            await _wait_at_most(self._stopped, started_s + next_s - time.monotonic())

    async def _say_goodbye(self) -> None:
        deadline_s = time.monotonic() + self._options.drain_timeout_s
        self._roster.call_back()
        await self._settle(deadline_s)
        for sender in self._roster.senders:
            sender.say_goodbye()
        await self._settle(deadline_s)

    async def _settle(self, deadline_s: float) -> None:
        while self._roster.unsettled and time.monotonic() < deadline_s and not self._hurried.is_set():
            await _wait_at_most(self._hurried, TICK_S)

    async def _leave(self) -> None:
        leaving = [asyncio.create_task(sender.leave()) for sender in self._roster.senders]
        timeout_s = 0 if self._hurried.is_set() else self._options.endpoint.connect_timeout_s
        _, late = await asyncio.wait(leaving, timeout=timeout_s)
        for task in late:
            task.cancel()

    async def _verify(self) -> bool:
        if sys.stderr.isatty() and not self._options.is_quiet:
            print(file=sys.stderr)  # the progress line has no end
        print(summary(self._totals, time.monotonic() - self._started_s), flush=True)
        if not self._verification.is_asked:
            return True
        verdict = await self._verification.verdict(0 if self._hurried.is_set() else self._options.verify_timeout_s)
        verdict = replace(verdict, sessions_lost=self._totals.sessions_lost)
        print(verdict.text(), flush=True)
        return verdict.is_verified

    async def _close(self) -> None:
        leaving = [asyncio.create_task(watcher.leave()) for watcher in self._roster.watchers]
        if leaving:
            await asyncio.wait(leaving, timeout=self._options.endpoint.connect_timeout_s)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._ledger.flush()
            for connection in self._roster.connections:
                connection.tend()

    async def _show_progress(self) -> None:
        interval_s = 1 if sys.stderr.isatty() else 10
        sent_before = 0
        while not self._options.is_quiet:
            await asyncio.sleep(interval_s)
            rate, sent_before = (self._totals.sent - sent_before) / interval_s, self._totals.sent
            self._say(self._progress(rate))

    def _say(self, progress: Progress) -> None:
        start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
        print(start + progress_line(progress, self._totals), end=end, file=sys.stderr, flush=True)

    def _progress(self, rate: float) -> Progress:
        publishers = self._roster.publishers
        connected = sum(publisher.is_connected for publisher in publishers)
        return Progress(time.monotonic() - self._started_s, connected, len(publishers), rate)


async def _wait_at_most(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(TICK_S, timeout_s))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):  # a defect; the cancellations asked for above are no Exception
            raise outcome


def _allow_descriptors(clients: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise FirstConnectionError(f"{clients} devices need {wanted} open files; this user may open {hard}.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
