"""The one reader of the log in this process: it feeds every listener, and runs only while there is one.

A hundred open pages cost the store one reader. While the store is away it keeps asking, and says so.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import redis

from web.live.listener import Listener

if TYPE_CHECKING:
    from store.query import Query
    from web.live.selection import Selection

LOGGER = logging.getLogger(__name__)
BLOCK_MS = 1000  # well below the time-out of the connection
READ_MESSAGES = 1000
RETRY_S = 1.0
NOWHERE = "0-0"


class TooManyStreamsError(Exception):
    """This process has no thread to spare for another stream."""


class Tailer:
    """Feeds up to `cap` listeners from the log. All methods may be called from any thread."""

    def __init__(self, query: Query, cap: int) -> None:
        self._query = query
        self._cap = cap
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None
        self._position = NOWHERE
        self.is_store_reachable = True

    @property
    def position(self) -> str:
        """Up to which message of the log every listener has been offered all; meaningless before the first one."""
        return self._position

    def listen(self, selection: Selection) -> Listener:
        """Return a listener that is offered every message committed from now on; give it back with `leave`.

        Raises TooManyStreamsError beyond the cap or while closing, redis.RedisError when the store does not answer.
        """
        with self._lock:
            if len(self._listeners) >= self._cap or self._leaving.is_set():
                raise TooManyStreamsError
            if self._thread is None:
                # Read here, not in the thread: what is committed after this line must reach the listener.
                self._position = self._query.live(None).next
            listener = Listener(selection)
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live-tailer", daemon=True)
                self._thread.start()
            return listener

    def leave(self, listener: Listener) -> None:
        """Take a listener off; harmless when it has left already."""
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream, for good: the process is leaving. Safe in a signal handler of the main thread."""
        self._leaving.set()
        for listener in list(self._listeners):
            listener.close()

    def _run(self) -> None:
        while self._is_wanted():
            try:
                self._read_once()
            except redis.RedisError as error:
                self._report_outage(error)
                self._leaving.wait(RETRY_S)
            else:
                self.is_store_reachable = True

    def _is_wanted(self) -> bool:
        with self._lock:
            if self._listeners and not self._leaving.is_set():
                return True
            self._thread = None
            return False

    def _read_once(self) -> None:
        """Offer what the log holds next; wait up to BLOCK_MS for it."""
        found = self._query.live(self._position, BLOCK_MS, READ_MESSAGES)
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.offer(found.rows, has_gap=found.has_gap)
        self._position = found.next

    def _report_outage(self, error: redis.RedisError) -> None:
        if self.is_store_reachable:
            LOGGER.warning("live streams wait for the store: %s", type(error).__name__)
        self.is_store_reachable = False
