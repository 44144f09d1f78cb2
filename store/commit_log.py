"""The write that an acknowledgement waits for, as bytes for `link.StoreLink`, and what its replies mean. No I/O.

One commit is one script call (`scripts/commit.lua`), and `WAITAOF` behind it where an acknowledgement promises the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import schema
from store.link import Replies, pack
from store.model import Message, encode_frame
from store.scripting import load_script

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMIT = load_script("commit")
MARKER_TTL_S = 86_400
WAITAOF_TIMEOUT_MS = 4_000


class CommitRefusedError(Exception):
    """The store answered that it did not store the batch; the message is the store's own."""


class CommitLog:
    """Writes the commits of one node incarnation; `ACK_AFTER=disk` is `is_fsynced`."""

    def __init__(self, node_id: str, *, is_fsynced: bool, max_retained: int) -> None:
        self._keys = (schema.LOG, schema.committed(node_id), schema.RETAINED, schema.RETAINED_INDEX)
        self._is_fsynced = is_fsynced
        self._max_retained = max_retained
        self.reply_count = 2 if is_fsynced else 1

    def request(self, number: int, messages: list[Message], retained: Iterable[tuple[str, Message | None]]) -> bytes:
        """Return the packed commands that commit `messages` as commit `number`.

        `retained`: topic names whose retained message this batch changes, None where it is cleared.
        """
        arguments: list[str | bytes | int] = [number, MARKER_TTL_S, encode_frame(messages), self._max_retained]
        for topic_name, message in retained:
            arguments += (topic_name, encode_frame([message]) if message is not None else b"")
        commit = pack(("EVALSHA", COMMIT.sha, len(self._keys), *self._keys, *arguments))
        return commit + pack(("WAITAOF", 1, 0, WAITAOF_TIMEOUT_MS)) if self._is_fsynced else commit

    def read_replies(self, replies: Replies) -> int:
        """Return how many retained messages were refused for lack of room.

        Raises CommitRefusedError when the batch is not (yet) as safe as an acknowledgement would promise.
        """
        for reply in replies:
            if isinstance(reply, Exception):
                raise CommitRefusedError(str(reply))
        if self._is_fsynced and replies[1][0] < 1:
            raise CommitRefusedError(f"not fsynced within {WAITAOF_TIMEOUT_MS} ms")
        return int(replies[0][1])
