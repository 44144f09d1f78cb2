"""`python -m store export`: a selection into a file or onto standard output."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from store.connection import connect
from store.export.formats import writer_of
from store.export.long_source import LongSource
from store.export.source import Source
from transfer.output import resume
from transfer.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings import Settings
    from store.export.formats import Format
    from store.export.selection import Place, Selection

STANDARD_OUTPUT = "-"


class OutputError(Exception):
    """The file cannot be written; the message says what to do."""


def export(settings: Settings, selection: Selection, name: Format, path: str, *, is_resumed: bool) -> None:
    """Write messages to a file: devices by name, their messages by id, in constant memory.

    Raises OutputError, redis.RedisError, LongHistoryUnavailable.
    """
    writer, progress = writer_of(name), Progress("messages")
    with _stores(settings) as source, _output(path, is_resumed=is_resumed) as file:
        if is_resumed:
            selection = replace(selection, after=_resumed(file, name, path))
        if selection.after is None:
            file.write(writer.head)
        for found in source.select(selection):
            if found:
                file.write(writer.lines(found))
                progress.add(len(found), found[-1][0])
    progress.end()


@contextlib.contextmanager
def _stores(settings: Settings) -> Iterator[Source]:
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(connect(settings))
        long_source = LongSource(settings) if settings.mongo_url else None
        if long_source is not None:
            opened.callback(long_source.close)
        yield Source(client, long_source)


@contextlib.contextmanager
def _output(path: str, *, is_resumed: bool) -> Iterator[BinaryIO]:
    """Open where to write; a file that exists is only touched to go on with it."""
    if path == STANDARD_OUTPUT:
        if is_resumed:
            raise OutputError("--resume needs --output FILE: it reads there how far the export came.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    exists = Path(path).exists()
    if exists and not is_resumed:
        raise OutputError(f"{path} exists already. Go on with it by --resume, delete it, or choose another --output.")
    try:
        with Path(path).open("r+b" if exists else "w+b") as file:
            yield file
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Go on by --resume once it can.") from None


def _resumed(file: BinaryIO, name: Format, path: str) -> Place | None:
    try:
        return resume(file, name)
    except ValueError as error:
        raise OutputError(f"{path} cannot be gone on with as {name}: {error}.") from None
