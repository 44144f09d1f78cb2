"""A listener's messages as a stream of server-sent events (HTML standard §9.2).

message   id: the message's own, so that any container can continue after it; data: the message
position  id: where the stream stands, when nothing wanted has come; it is also the heartbeat
skipped   how many messages came faster than the stream sends, since it opened
gap       messages before the next one may have been cut off the log unseen
store     whether the store answers
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec
import redis

from web.shapes import live_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.answers import StoredMessage
    from store.model import MessageId
    from web.live.backlog import Backlog
    from web.live.listener import Listener, Taken
    from web.live.tailer import Tailer

RECONNECT_MS = 2000
STREAM_S = 900.0  # then the browser opens it again, and the session is checked again


class EventStream:
    """Iterates over the chunks of one response: first `backlog`, then what `listener` gets, until one of them ends."""

    def __init__(
        self, tailer: Tailer, listener: Listener, backlog: Backlog, heartbeat_s: float, is_ended: Callable[[], bool]
    ) -> None:
        self._tailer = tailer
        self._listener = listener
        self._backlog = backlog
        self._heartbeat_s = heartbeat_s
        self._is_ended = is_ended
        self._asked_s = time.monotonic()
        self._sent: MessageId | None = None
        self._skipped = 0
        self._was_reachable = True

    def __iter__(self) -> Iterator[str]:
        """Yield chunks of whole events."""
        yield f"retry: {RECONNECT_MS}\n\n" + self._gap(self._backlog.has_gap) + self._messages(self._backlog.messages)
        ends_at_s = time.monotonic() + STREAM_S
        while time.monotonic() < ends_at_s:
            position = self._tailer.position  # before taking: all up to here has been offered
            taken = self._listener.take(self._heartbeat_s)
            if self._has_ended():
                return
            yield self._chunk(taken, position)
            if taken.is_closed:
                return

    def _has_ended(self) -> bool:
        """Return whether whoever opened the stream has logged out; a second late at most."""
        if time.monotonic() - self._asked_s < 1:
            return False
        self._asked_s = time.monotonic()
        with contextlib.suppress(redis.RedisError):  # while the store is away, there is nothing to send
            return self._is_ended()
        return False

    def _chunk(self, taken: Taken, position: str) -> str:
        chunk = self._gap(taken.has_gap) + self._messages(taken.messages)
        if not taken.messages:
            chunk += event("position", {}, position)
        if taken.skipped != self._skipped:
            self._skipped = taken.skipped
            chunk += event("skipped", {"skipped": taken.skipped})
        if self._tailer.is_store_reachable != self._was_reachable:
            self._was_reachable = not self._was_reachable
            chunk += event("store", {"reachable": self._was_reachable})
        return chunk

    def _messages(self, messages: list[StoredMessage]) -> str:
        chunk = ""
        for message in messages:
            # The backlog was read after the listener began: the two may overlap.
            if self._sent is None or message.id > self._sent:
                chunk += event("message", live_message(message), str(message.id))
                self._sent = message.id
        return chunk

    def _gap(self, has_gap: bool) -> str:
        return event("gap", {}) if has_gap else ""


def event(name: str, data: dict[str, Any], event_id: str = "") -> str:
    """Return one event; its data is one line of JSON."""
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"
