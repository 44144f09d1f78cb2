"""The formats of an export by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from store.export.csv_rows import RowWriter
from store.export.ndjson import LineWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.export.ndjson import Found

Format = Literal["ndjson", "csv"]
FORMATS: tuple[Format, ...] = ("ndjson", "csv")
MEDIA_TYPES: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}


class Writer(Protocol):
    """Turns messages into a format's bytes."""

    @property
    def head(self) -> bytes:
        """What a file begins with."""

    def lines(self, found: Iterable[Found]) -> bytes:
        """Return whole lines, one for each message."""


def writer_of(name: Format) -> Writer:
    """Return a new writer of a format."""
    return RowWriter() if name == "csv" else LineWriter()
