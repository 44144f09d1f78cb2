"""What people see: what the gateway does, and each line of a container behind its name."""

from __future__ import annotations

import os
import sys
import time
from typing import BinaryIO

LONGEST_LINE_BYTES = 64 * 1024
NAME_WIDTH = 15


class Console:
    """Standard output; `containers_output` is where the containers' own lines go instead, if anywhere."""

    def __init__(self, containers_output: BinaryIO | None = None) -> None:
        self._started_s = time.monotonic()
        self._containers_output = containers_output
        self._partial: dict[str, bytes] = {}

    def say(self, text: str, name: str = "gateway") -> None:
        """Write one line with the seconds since the start and who it is about."""
        self._write(f"{time.monotonic() - self._started_s:8.1f}  {name:<{NAME_WIDTH}} {text}\n".encode())

    def show(self, text: str) -> None:
        """Write text as it is."""
        self._write(text.encode() + b"\n")

    def relay(self, name: str, data: bytes) -> None:
        """Write the complete lines of what `name` has written so far; keep the rest for the next call."""
        *lines, rest = (self._partial.pop(name, b"") + data).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        if rest:
            self._partial[name] = rest
        prefix = f"{'':8}  {name:<{NAME_WIDTH}} | ".encode()
        self._write(b"".join(prefix + line + b"\n" for line in lines), self._containers_output)

    def finish(self, name: str) -> None:
        """Write what `name` left without a line's end."""
        if name in self._partial:
            self.relay(name, b"\n")

    def _write(self, data: bytes, file: BinaryIO | None = None) -> None:
        try:
            (file or sys.stdout.buffer).write(data)
            (file or sys.stdout.buffer).flush()
        except OSError:
            if file is None:  # whoever read it has gone; containers have to be stopped all the same
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
