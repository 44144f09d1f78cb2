"""Reading retained messages, in order with commits: over the same connection, and passed on inside the answer, so that
what a subscriber gets is never older than what the commits before it have brought. `scripts/commit.lua` writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from store import schema
from store.model import Message, decode_frame
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.link import Replies, StoreLink

PAGE_NAMES = 100
PAGE_BYTES = 128 * 1024
READ_RETAINED = load_script("read_retained")


class Retained(NamedTuple):
    """A retained message, and the version of all retained messages with which it was stored."""

    message: Message
    version: int


class RetainedMessages:
    """Finds retained messages by the literal prefix of a topic filter; a wildcard does not scan what cannot match."""

    def __init__(self, link: StoreLink) -> None:
        self._link = link

    async def find(
        self,
        prefix: str,
        is_match: Callable[[str], bool],
        deliver: Callable[[list[Retained]], None],
        capacity: Callable[[], Awaitable[None]],
    ) -> None:
        """Deliver the messages of topic names that begin with `prefix` and satisfy `is_match`, about PAGE_BYTES at a time.

        Waits for `capacity` before each read. Raises LinkDownError while the store is away.
        """
        low, high = b"[" + prefix.encode(), b"[" + prefix.encode() + b"\xff"
        while True:
            await capacity()
            (names,) = await self._link.call(("ZRANGEBYLEX", schema.RETAINED_INDEX, low, high, "LIMIT", 0, PAGE_NAMES))
            if not names:
                return
            low = b"(" + names[-1]
            matching = [name for name in names if is_match(name.decode())]
            while matching:
                read = await self._read(matching, deliver)
                matching = matching[read:]
                if matching:
                    await capacity()

    async def get(self, topic_name: str, deliver: Callable[[list[Retained]], None]) -> None:
        """Deliver the retained message of one topic name, if any. Raises LinkDownError while the store is away."""
        await self._read([topic_name.encode()], deliver)

    async def _read(self, names: list[bytes], deliver: Callable[[list[Retained]], None]) -> int:
        def pass_on(replies: Replies) -> None:
            if isinstance(replies[0], list):
                deliver([_decode(value) for value in replies[0] if value])

        command = ("EVALSHA", READ_RETAINED.sha, 1, schema.RETAINED, PAGE_BYTES, *names)
        (reply,) = await self._link.send([command], pass_on)
        if isinstance(reply, Exception):
            raise reply
        return len(reply)


def _decode(value: bytes) -> Retained:
    version, colon, frame = value.partition(b":")
    if not (colon and version.isdigit()):  # stored before there were versions
        version, frame = b"0", value
    return Retained(decode_frame(frame)[0], int(version))
