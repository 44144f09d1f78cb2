"""Reading retained messages, in order with commits: over the same connection, and handed on inside the answer, so that
what a subscriber gets is never older than what the commits before it have brought. `scripts/commit.lua` writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import schema
from store.model import decode_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.link import Replies, StoreLink
    from store.model import Message

    Deliver = Callable[[list[Message]], None]
    Room = Callable[[], Awaitable[None]]

PAGE = 500
FETCH = 20


class RetainedMessages:
    """Finds retained messages by the literal prefix of a topic filter; a wildcard does not scan what cannot match."""

    def __init__(self, link: StoreLink) -> None:
        self._link = link

    async def find(self, prefix: str, is_match: Callable[[str], bool], deliver: Deliver, room: Room) -> None:
        """Deliver the messages of topic names that begin with `prefix` and satisfy `is_match`, FETCH at a time.

        Waits for `room` before each read. Raises LinkDownError while the store is away.
        """
        low, high = b"[" + prefix.encode(), b"[" + prefix.encode() + b"\xff"
        while True:
            (names,) = await self._link.call(("ZRANGEBYLEX", schema.RETAINED_INDEX, low, high, "LIMIT", 0, PAGE))
            matching = [name for name in names if is_match(name.decode())]
            for start in range(0, len(matching), FETCH):
                await room()
                await self._fetch(matching[start : start + FETCH], deliver)
            if len(names) < PAGE:
                return
            low = b"(" + names[-1]

    async def get(self, topic_name: str, deliver: Deliver) -> None:
        """Deliver the retained message of one topic name, if any. Raises LinkDownError while the store is away."""
        await self._fetch([topic_name.encode()], deliver)

    async def _fetch(self, names: list[bytes], deliver: Deliver) -> None:
        def hand_on(replies: Replies) -> None:
            if isinstance(replies[0], list):
                deliver([decode_frame(frame)[0] for frame in replies[0] if frame])

        await self._link.send([("HMGET", schema.RETAINED, *names)], hand_on)
