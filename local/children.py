"""Child processes, each in a process group of its own: started, listened to, and stopped to the last one."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

from local.parent_death import ending_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from local.output import Output

READ_BYTES = 64 * 1024
TURN_S = 0.1


class Children:
    """The running children by name. No threads: `turn()` relays what they wrote and has to be called often.

    On Linux the kernel kills them when this process dies (their own children end with them, as gunicorn's workers do).
    """

    def __init__(self, output: Output, root: Path) -> None:
        self._output = output
        self._root = root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, name: str, command: list[str], environ: Mapping[str, str]) -> None:
        """Start `command` as `name`. It gets no standard input, and no signal from the terminal."""
        process = subprocess.Popen(
            ending_with_parent(command, signal.SIGKILL),
            cwd=self._root,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes[name] = process
        pipe = cast("IO[bytes]", process.stdout)
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, selectors.EVENT_READ, name)

    def turn(self) -> None:
        """Relay what the children write for up to TURN_S seconds."""
        if not self._selector.get_map():
            time.sleep(TURN_S)
        for key, _ in self._selector.select(TURN_S):
            self._relay(cast("IO[bytes]", key.fileobj), key.data)

    def first_dead(self) -> tuple[str, int] | None:
        """Return name and exit status of a child that has ended, or None."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return name, process.returncode
        return None

    def stop(self, names: Iterable[str], timeout_s: float, is_hurried: Callable[[], bool]) -> None:
        """Stop the named children: SIGTERM, and SIGKILL for the whole group after `timeout_s` or when hurried.

        Harmless for those that have ended or never started.
        """
        ending = [name for name in names if name in self._processes]
        for name in ending:
            self._processes[name].terminate()
        deadline_s = time.monotonic() + timeout_s
        while self._is_any_alive(ending) and time.monotonic() < deadline_s and not is_hurried():
            self.turn()
        for name in ending:
            self._bury(name)

    @property
    def names(self) -> list[str]:
        """Names of all children not stopped yet, the latest first."""
        return list(reversed(self._processes))

    def _is_any_alive(self, names: list[str]) -> bool:
        return any(self._processes[name].poll() is None for name in names)

    def _bury(self, name: str) -> None:
        process = self._processes.pop(name)
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies only
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pipe = cast("IO[bytes]", process.stdout)
        if pipe in {key.fileobj for key in self._selector.get_map().values()}:
            self._relay(pipe, name)
        with suppress(KeyError):
            self._selector.unregister(pipe)
        self._output.finish(name)
        pipe.close()

    def _relay(self, pipe: IO[bytes], name: str) -> None:
        try:
            data = os.read(pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._output.relay(name, data)
        else:
            self._selector.unregister(pipe)
