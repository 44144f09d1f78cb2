"""Exports under way: a few at once in each process, streamed in blocks, so that neither threads nor memory run out."""

from __future__ import annotations

import errno
import logging
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING

import redis

from store.answers import LongHistoryUnavailable
from store.export.formats import writer_of
from store.export.source import Source

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from settings import Settings
    from store.export.formats import Format
    from store.export.long_source import LongSource
    from store.export.selection import Selection

LOGGER = logging.getLogger(__name__)
EXPORTS_AT_ONCE = 4
BLOCK_BYTES = 64 * 1024
BLOCK_S = 5.0  # a block of what there is by then, or nothing: the platform's router waits 30 s for the first byte
OUTAGES = (redis.RedisError, LongHistoryUnavailable)


class TooManyExportsError(Exception):
    """This process has no thread to spare for another export."""


class Exports:
    """Reads both stores. All methods may be called from any thread."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._free = threading.BoundedSemaphore(EXPORTS_AT_ONCE)

    def begin(self, selection: Selection, name: Format) -> Generator[bytes, None, None]:
        """Return the blocks of an export, the first of them read already; it has to be closed, read to its end or not.

        A store that fails later ends the connection: a file that is not whole must not look as if it were.
        Raises TooManyExportsError, redis.RedisError, LongHistoryUnavailable.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyExportsError
        stream = self._stream(selection, name)
        try:
            next(stream)
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """Close the connections that this opened."""
        if self._long_source is not None:
            self._long_source.close()

    @cached_property
    def _long_source(self) -> LongSource | None:
        if not self._settings.mongo_url:
            return None
        from store.export.long_source import LongSource  # noqa: PLC0415  most installations have no MongoDB

        return LongSource(self._settings)

    def _stream(self, selection: Selection, name: Format) -> Generator[bytes, None, None]:
        """Yield nothing once the first block is there, then the blocks."""
        try:
            blocks = self._blocks(selection, name)
            first = next(blocks)
            yield b""
            yield first
            yield from _noticeably(blocks)
        finally:
            self._free.release()

    def _blocks(self, selection: Selection, name: Format) -> Iterator[bytes]:
        writer = writer_of(name)
        parts = [] if selection.after else [writer.head]
        size = 0
        due_s = time.monotonic() + BLOCK_S
        for found in Source(self._redis, self._long_source).select(selection):
            parts.append(writer.lines(found))
            size += len(parts[-1])
            if size >= BLOCK_BYTES or time.monotonic() >= due_s:
                yield b"".join(parts)
                parts, size = [], 0
                due_s = time.monotonic() + BLOCK_S
        yield b"".join(parts)


def _noticeably(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks; an outage becomes an error that makes gunicorn break the connection off without a traceback."""
    try:
        yield from blocks
    except OUTAGES as error:
        LOGGER.warning("An export is broken off: a store does not answer: %s", type(error).__name__)
        raise ConnectionResetError(errno.ECONNRESET, "the export is not whole") from error
