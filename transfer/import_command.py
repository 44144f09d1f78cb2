"""`python -m store import`: NDJSON from a file or standard input into both stores."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import uvloop

from store.clock import wall_ms
from store.model import START
from transfer.ceiling import Ceiling
from transfer.importer import Importer
from transfer.lines import InputError, Lines
from transfer.progress import Progress
from transfer.stores import opened_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings import Settings
    from store.export.ndjson import Found
    from transfer.lines import Line
    from transfer.older_messages import Tally

STANDARD_INPUT = "-"
SETTLE_S = 5.0
GARBAGE_OBJECTS = (
    50_000  # what a batch makes lives as long as it does: to look for garbage within it costs a third of the time
)


def import_(settings: Settings, path: str, *, skips_bad: bool) -> None:
    """Write the messages of an export into an installation, empty or in use. Running it again does no harm.

    Raises InputError, ChangingError, FullError, redis.RedisError, PyMongoError, OSError.
    """
    gc.set_threshold(GARBAGE_OBJECTS, 20, 20)
    with _input(path) as file, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Import(settings, Lines(file, skips_bad=skips_bad)).run())


class _Import:
    """One run: the next lines are read in a thread while the stores do their part."""

    def __init__(self, settings: Settings, lines: Lines) -> None:
        self._settings = settings
        self._lines = lines
        self._progress = Progress("messages")

    async def run(self) -> None:
        """Import everything and say what became of it."""
        async with opened_stores(self._settings) as stores:
            ceiling = Ceiling(stores.client, self._settings)
            await ceiling.measure()
            importer = Importer(stores.client, self._settings, stores.views, stores.long_import, wall_ms)
            try:
                await self._write_all(importer, ceiling)
            finally:
                await importer.settle()
        self._progress.end()
        self._tell(importer.tally)

    async def _write_all(self, importer: Importer, ceiling: Ceiling) -> None:
        settle_at_s = time.monotonic() + SETTLE_S
        reading = asyncio.create_task(asyncio.to_thread(self._lines.read))
        while some := await reading:
            reading = asyncio.create_task(asyncio.to_thread(self._lines.read))
            messages, refusal = await self._below(ceiling, some)
            if messages:
                await importer.write(messages, ceiling.id)
                self._progress.add(len(messages), messages[-1][0])
            if refusal is not None:
                await asyncio.wait((reading,))
                raise refusal
            if time.monotonic() >= settle_at_s:
                await importer.settle()
                settle_at_s = time.monotonic() + SETTLE_S

    async def _below(self, ceiling: Ceiling, some: list[Line]) -> tuple[list[Found], InputError | None]:
        """Return the messages that can be imported now, up to one that ends the import."""
        found = [line.found for line in some]
        ids = [message_id for _, message_id, _ in found]
        if min(ids) > START and max(ids) < ceiling.id:
            return found, None
        await ceiling.measure()
        allowed: list[Found] = []
        for line in some:
            try:
                ceiling.check(line.found[1])
                allowed.append(line.found)
            except ValueError as error:
                try:
                    self._lines.refuse(line.number, error)
                except InputError as refusal:
                    return allowed, refusal
        return allowed, None

    def _tell(self, tally: Tally) -> None:
        said = [f"{tally.imported:,} imported, {tally.present:,} were there already."]
        if tally.uncounted:
            where = "They are in MongoDB only." if self._settings.mongo_url else "They are left out."
            said.append(f"{tally.uncounted:,} are older than what their devices keep in Redis. {where}")
        if self._lines.skipped:
            said.append(f"{self._lines.skipped:,} lines were skipped, see above.")
        sys.stderr.write("".join(f"{line}\n" for line in said))


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
