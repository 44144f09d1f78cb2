"""How far a long run has come, on standard error: one line that is renewed on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL_EVERY_S = 0.5
OTHERWISE_EVERY_S = 10.0


class Progress:
    """Counts what is done; `what` names it, as in "messages"."""

    def __init__(self, what: str, stream: TextIO = sys.stderr) -> None:
        self.count = 0
        self._what = what
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every_s = TERMINAL_EVERY_S if self._is_terminal else OTHERWISE_EVERY_S
        self._began_s = self._said_s = time.monotonic()

    def add(self, count: int, where: str) -> None:
        """Count some more; `where` is shown."""
        self.count += count
        now_s = time.monotonic()
        if now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            self._say(f"{self._line()}, at {where}", "\r" if self._is_terminal else "\n")

    def end(self) -> None:
        """Show the final count."""
        self._say(self._line(), "\n")

    def _line(self) -> str:
        elapsed_s = max(time.monotonic() - self._began_s, 0.001)
        return f"{self.count:,} {self._what}, {self.count / elapsed_s:,.0f}/s"

    def _say(self, line: str, end: str) -> None:
        clear = "\x1b[2K" if self._is_terminal else ""
        self._stream.write(f"{clear}{line}{end}")
        self._stream.flush()
