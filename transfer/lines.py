"""The lines of a file to import, some at a time: what each says, or why it cannot be imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from store.export.ndjson import LineReader

if TYPE_CHECKING:
    from store.export.ndjson import Found

BATCH_MESSAGES = 4096
BATCH_BYTES = 4 * 1024 * 1024


class InputError(Exception):
    """The file, or a line of it, cannot be imported; the message says what to do."""


class Line(NamedTuple):
    """A message, and the number of the line that it stands in."""

    number: int
    found: Found


class Lines:
    """Reads a file. `skipped`: lines that were left out, where `skips_bad` says so; else the first ends the reading."""

    def __init__(self, file: BinaryIO, *, skips_bad: bool) -> None:
        self.skipped = 0
        self._numbered = enumerate(file, 1)
        self._skips_bad = skips_bad
        self._reader = LineReader()
        self._error: InputError | None = None

    def read(self) -> list[Line]:
        """Return the next messages, none at the end; those before a bad line, then raise InputError."""
        if self._error is not None:
            raise self._error
        some: list[Line] = []
        size = 0
        for number, line in self._numbered:
            if not line.strip():
                continue
            try:
                some.append(Line(number, self._reader.read(line)))
            except ValueError as error:
                try:
                    self.refuse(number, error)
                except InputError as refusal:
                    self._error = refusal
                    break
            size += len(line)
            if len(some) == BATCH_MESSAGES or size >= BATCH_BYTES:
                break
        if not some and self._error is not None:
            raise self._error
        return some

    def refuse(self, number: int, error: ValueError) -> None:
        """Leave a line out and say why; or raise InputError that does."""
        if not self._skips_bad:
            raise InputError(f"Line {number}: {error}. What stands before it is imported.") from None
        self.skipped += 1
        sys.stderr.write(f"Line {number} is skipped: {error}.\n")
