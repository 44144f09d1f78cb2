"""One listener's share of the log: a bounded queue, a bounded rate, and a count of what it did not get.

The tailer offers, the stream's own thread takes. A listener that is too slow loses messages, never slows another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.answers import StoredMessage
    from web.live.selection import Selection

MESSAGES_PER_S = 50  # about what a page can show; more cannot be read
WAITING_MESSAGES = 200


@dataclass(frozen=True)
class Taken:
    """What a listener got: messages in the log's order, and how many it missed since it began.

    `has_gap`: it may have missed others, uncounted.
    """

    messages: list[StoredMessage]
    skipped: int
    has_gap: bool
    is_closed: bool


class Listener:
    """The queue between the tailer and one stream."""

    def __init__(self, selection: Selection, *, messages_per_s: float = MESSAGES_PER_S) -> None:
        self.selection = selection
        self._messages_per_s = messages_per_s
        self._allowance = messages_per_s
        self._allowed_at_s = time.monotonic()
        self._waiting: deque[StoredMessage] = deque()
        self._skipped = 0
        self._has_gap = False
        self._is_closed = False
        self._changed = threading.Condition()

    def offer(self, messages: Iterable[StoredMessage], *, has_gap: bool = False) -> None:
        """Queue the wanted ones among `messages`; count those beyond the bounds as skipped.

        `has_gap`: some before these were cut off the log before they were read.
        """
        wanted = [message for message in messages if self.selection.matches(message)]
        if not wanted and not has_gap:
            return
        with self._changed:
            self._has_gap |= has_gap
            self._refill()
            for message in wanted:
                self._queue(message)
            self._changed.notify()

    def take(self, timeout_s: float) -> Taken:
        """Return what is waiting; wait up to `timeout_s` for something where nothing is."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_gap or self._is_closed, timeout_s)
            messages = list(self._waiting)
            self._waiting.clear()
            has_gap, self._has_gap = self._has_gap, False
            return Taken(messages, self._skipped, has_gap, self._is_closed)

    def close(self) -> None:
        """Let the stream end at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _refill(self) -> None:
        now_s = time.monotonic()
        earned = (now_s - self._allowed_at_s) * self._messages_per_s
        self._allowance = min(self._messages_per_s, self._allowance + earned)
        self._allowed_at_s = now_s

    def _queue(self, message: StoredMessage) -> None:
        if self._allowance < 1 or len(self._waiting) >= WAITING_MESSAGES:
            self._skipped += 1
            return
        self._allowance -= 1
        self._waiting.append(message)
