"""What the terminal shows: each line behind the name of the process that wrote it, in that process's colour."""

from __future__ import annotations

import os
import sys

COLOURS = (36, 33, 35, 32, 34)  # SGR foregrounds: cyan, yellow, magenta, green, blue
LONGEST_LINE_BYTES = 64 * 1024


class Output:
    """Standard output, shared by the launcher and its children."""

    def __init__(self, names: list[str], *, is_coloured: bool) -> None:
        width = max(map(len, names), default=0)
        self._prefixes = {name: f"{name:<{width}} | ".encode() for name in names}
        if is_coloured:
            for (name, prefix), colour in zip(list(self._prefixes.items()), COLOURS * len(names), strict=False):
                self._prefixes[name] = b"\x1b[%dm%b\x1b[0m" % (colour, prefix)
        self.is_closed = False  # whether whoever read the output has gone
        self._partial = dict.fromkeys(names, b"")

    def relay(self, name: str, data: bytes) -> None:
        """Write the complete lines of what `name` has written so far; keep the rest for the next call."""
        *lines, rest = (self._partial[name] + data).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        self._partial[name] = rest
        self._write(b"".join(self._prefixes[name] + line + b"\n" for line in lines))

    def finish(self, name: str) -> None:
        """Write what `name` left without a line's end."""
        if self._partial[name]:
            self.relay(name, b"\n")

    def say(self, text: str) -> None:
        """Write the launcher's own words."""
        self._write(text.encode() + b"\n")

    def _write(self, data: bytes) -> None:
        if not data or self.is_closed:
            return
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError:
            self.is_closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush at exit succeeds
