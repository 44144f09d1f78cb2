"""What a listener missed while it was away, read from the log by its own thread: bounded, and honest about what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from store.answers import MAX_PAGE
from store.clock import wall_ms
from store.model import MessageId

if TYPE_CHECKING:
    from store.answers import StoredMessage
    from store.query import Query
    from web.live.selection import Selection

READS = 5  # of MAX_PAGE messages or 1 MiB each
RECENT_MS = 60_000


@dataclass(frozen=True)
class Backlog:
    """Wanted messages, oldest first; `position` is where to go on, `has_gap` whether any before it may be left out."""

    messages: list[StoredMessage] = field(default_factory=list)
    position: str = "0-0"
    has_gap: bool = False


def after(query: Query, selection: Selection, position: str, until: str) -> Backlog:
    """Return what was committed after `position` and up to `until`, as far as READS reach; the rest is a gap."""
    messages: list[StoredMessage] = []
    has_gap = False
    for _ in range(READS):
        found = query.live(position, count=MAX_PAGE)
        messages += [message for message in found.rows if selection.matches(message)]
        has_gap |= found.has_gap
        position = found.next
        if not found.rows or MessageId.parse(position) >= MessageId.parse(until):
            return Backlog(messages, position, has_gap)
    return Backlog(messages, position, has_gap=True)


def recent(query: Query, selection: Selection) -> Backlog:
    """Return the last minute's messages; none where there are more than one read holds, but where to go on."""
    found = query.live(f"{wall_ms() - RECENT_MS}-0", count=MAX_PAGE)
    if len(found.rows) >= MAX_PAGE or not found.rows:
        return Backlog(position=query.live(None).next)
    return Backlog([message for message in found.rows if selection.matches(message)], found.next)
