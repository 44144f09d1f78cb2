"""The life of `make run`: check, start, tell people, watch, stop. Leaves no process behind."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from local.children import Children
from local.output import Output
from local.plan import HOST, LaunchError, Plan
from local.ports import refuse_taken
from local.readiness import is_accepting, is_healthy
from local.valkey import EmbeddedValkey
from local.welcome import welcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
DEMO = "demo"
DEMO_OPTIONS = ("--devices", "10", "--rate", "10", "--quiet", "--drain-timeout", "3")


class Launcher:
    """Runs one plan. SIGINT, SIGTERM or SIGHUP end it; a second signal does not wait for orderly ends."""

    def __init__(self, plan: Plan, *, is_coloured: bool) -> None:
        self._plan = plan
        self._output = Output([*plan.processes, DEMO], is_coloured=is_coloured)
        self._children = Children(self._output, plan.root)
        self._store: EmbeddedValkey | None = None
        self._signals = 0

    def run(self) -> None:
        """Run until a signal ends it. Raises LaunchError when it cannot start, or when a process ends by itself."""
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, self._on_signal)
        with ExitStack() as running:
            running.enter_context(_sole_owner(self._plan))
            refuse_taken(HOST, {"MQTT_PORT": self._plan.ports["tcp"], "WEB_PORT": self._plan.ports["web"]})
            redis_url = self._plan.redis_url or running.enter_context(self._embedded_store())
            running.callback(self._stop)
            self._start(redis_url)
            if self._await_answers():
                self._output.say(welcome(self._plan))
                self._start_demo(redis_url)
                self._watch()

    def _on_signal(self, _signal_number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    @contextmanager
    def _embedded_store(self) -> Iterator[str]:
        store = EmbeddedValkey(self._plan.data / "valkey", options=("--appendfsync", "always"))  # see docs/limits.md
        try:
            store.start()
        except (RuntimeError, TimeoutError) as error:
            store.stop()
            raise LaunchError(str(error)) from None
        self._store = store
        try:
            yield store.url
        finally:
            store.stop()

    def _start(self, redis_url: str) -> None:
        for name, command in self._plan.processes.items():
            # exec: signals reach the process itself, not a shell in front of it
            self._children.start(name, ["/bin/sh", "-c", f"exec {command}"], self._plan.environment_of(name, redis_url))

    def _await_answers(self) -> bool:
        """Return whether everything answers; False when a signal came first. Raises LaunchError."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        checks = {"tcp": is_accepting, "web": is_healthy}
        waiting = [name for name in self._plan.processes if name in checks]
        while waiting and not self._signals:
            if time.monotonic() > deadline_s:
                raise LaunchError(f"{', '.join(waiting)} did not answer within {READY_TIMEOUT_S} s: see above")
            self._turn()
            waiting = [name for name in waiting if not checks[name](HOST, self._plan.ports[name])]
        return not self._signals

    def _start_demo(self, redis_url: str) -> None:
        if not self._plan.is_demo or "tcp" not in self._plan.processes:
            return
        command = [sys.executable, "-m", "emulator", "fleet", "--url", self._plan.broker_url, *DEMO_OPTIONS]
        command += ["--username", self._plan.credentials["MQTT_USERNAME"], "--password-env", "MQTT_PASSWORD"]
        self._children.start(DEMO, command, self._plan.environment_of(DEMO, redis_url))

    def _watch(self) -> None:
        while not self._signals and not self._output.is_closed:
            self._turn()

    def _turn(self) -> None:
        self._children.turn()
        dead = self._children.first_dead()
        if dead is not None:
            name, status = dead
            raise LaunchError(f"{name} ended with {_outcome(status)}: everything is stopped")
        if self._store is not None and not self._store.is_running:
            raise LaunchError(f"the store ended: everything is stopped; see {self._plan.data}/valkey/valkey.log")

    def _stop(self) -> None:
        signals_before = self._signals

        def is_hurried() -> bool:
            return self._signals > signals_before

        self._output.say("stopping …")
        self._children.stop([DEMO], STOP_TIMEOUT_S, is_hurried)  # first: it takes its leave of a live broker
        self._children.stop(self._children.names, STOP_TIMEOUT_S, is_hurried)


@contextmanager
def _sole_owner(plan: Plan) -> Iterator[None]:
    with (plan.data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip()
            raise LaunchError(f"Already running in this folder (process {owner}): stop that one first") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _outcome(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
