"""`python -m store import`: NDJSON from a file or standard input into both stores."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import uvloop

from store.cluster_link import views_link
from store.connection import connect_async
from store.export.ndjson import LineReader
from store.imported_views import ImportedViews
from store.model import START
from transfer.ceiling import Ceiling
from transfer.importer import Importer
from transfer.long_import import LongImport
from transfer.progress import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from settings import Settings
    from store.export.ndjson import Found

STANDARD_INPUT = "-"
BATCH_MESSAGES = 4096
BATCH_BYTES = 4 * 1024 * 1024
SETTLE_S = 5.0


class InputError(Exception):
    """The file, or a line of it, cannot be imported; the message says what to do."""


def import_(settings: Settings, path: str, *, skips_bad: bool) -> None:
    """Write the messages of an export into an installation, empty or in use. Running it again does no harm.

    Raises InputError, ChangingError, FullError, redis.RedisError, PyMongoError, OSError.
    """
    with _input(path) as file, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Import(settings, skips_bad=skips_bad).run(file))


class _Import:
    def __init__(self, settings: Settings, *, skips_bad: bool) -> None:
        self._settings = settings
        self._skips_bad = skips_bad
        self._skipped = 0
        self._reader = LineReader()
        self._progress = Progress("messages")

    async def run(self, file: BinaryIO) -> None:
        """Import a file and say what became of it."""
        async with _opened(self._settings) as (importer, ceiling):
            self._ceiling = ceiling
            settle_at_s = time.monotonic() + SETTLE_S
            try:
                async for messages in self._batches(file):
                    await importer.write(messages, ceiling.id)
                    self._progress.add(len(messages), messages[-1][0])
                    if time.monotonic() >= settle_at_s:
                        await importer.settle()
                        settle_at_s = time.monotonic() + SETTLE_S
            finally:
                await importer.settle()
            self._progress.end()
            tally = importer.tally
        self._say(f"{tally.imported:,} imported, {tally.present:,} were there already.")
        if tally.uncounted:
            where = "They are in MongoDB only." if self._settings.mongo_url else "They are left out."
            self._say(f"{tally.uncounted:,} are older than what their devices keep in Redis. {where}")
        if self._skipped:
            self._say(f"{self._skipped:,} lines were skipped, see above.")

    async def _batches(self, file: BinaryIO) -> AsyncIterator[list[Found]]:
        """Yield the messages of a file, some at a time; those before a bad line, then InputError."""
        some: list[Found] = []
        size = 0
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found = await self._read(line)
            except ValueError as error:
                if not self._skips_bad:
                    if some:
                        yield some
                    raise InputError(f"Line {number}: {error}. What stands before it is imported.") from None
                self._skipped += 1
                self._say(f"Line {number} is skipped: {error}.")
                continue
            some.append(found)
            size += len(line)
            if len(some) == BATCH_MESSAGES or size >= BATCH_BYTES:
                yield some
                some, size = [], 0
        if some:
            yield some

    async def _read(self, line: bytes) -> Found:
        """Return the message of a line. Raises ValueError."""
        found = self._reader.read(line)
        if not START < found[1] < self._ceiling.id:
            await self._ceiling.measure()
            self._ceiling.check(found[1])
        return found

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Importer, Ceiling]]:
    async with contextlib.AsyncExitStack() as opened:
        client = await opened.enter_async_context(contextlib.aclosing(connect_async(settings)))
        ceiling = Ceiling(client, settings)
        await ceiling.measure()
        link = views_link(client, settings)
        running = asyncio.create_task(link.run())
        opened.callback(running.cancel)
        long_import = LongImport(settings) if settings.mongo_url else None
        if long_import is not None:
            opened.push_async_callback(long_import.close)
            await long_import.open()
        yield Importer(client, ImportedViews(client, settings, link), long_import, _now_ms), ceiling


@contextlib.contextmanager
def _input(path: str) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
