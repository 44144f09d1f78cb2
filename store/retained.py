"""Reading retained messages, in order with commits: over the same connection, so an answer is never older than what
the commits before it have delivered. They are written by `scripts/commit.lua`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import schema
from store.model import Message, decode_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from store.link import StoreLink

PAGE = 500
FETCH = 20


class RetainedMessages:
    """Finds retained messages by the literal prefix of a topic filter; a wildcard does not scan what cannot match."""

    def __init__(self, link: StoreLink) -> None:
        self._link = link

    async def find(self, prefix: str, is_match: Callable[[str], bool]) -> AsyncIterator[list[Message]]:
        """Yield the messages of topic names that begin with `prefix` and satisfy `is_match`, a few at a time.

        Raises LinkDownError while the store is away.
        """
        low, high = b"[" + prefix.encode(), b"[" + prefix.encode() + b"\xff"
        while True:
            (names,) = await self._link.call(("ZRANGEBYLEX", schema.RETAINED_INDEX, low, high, "LIMIT", 0, PAGE))
            matching = [name for name in names if is_match(name.decode())]
            for start in range(0, len(matching), FETCH):
                yield await self._fetch(matching[start : start + FETCH])
            if len(names) < PAGE:
                return
            low = b"(" + names[-1]

    async def get(self, topic_name: str) -> list[Message]:
        """Return the retained message of one topic name, or nothing. Raises LinkDownError while the store is away."""
        return await self._fetch([topic_name.encode()])

    async def _fetch(self, names: list[bytes]) -> list[Message]:
        (frames,) = await self._link.call(("HMGET", schema.RETAINED, *names))
        return [decode_frame(frame)[0] for frame in frames if frame]
