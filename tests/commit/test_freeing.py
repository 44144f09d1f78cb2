"""What leaves while messages have to wait, and what becomes of a commit that Redis refuses for want of memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import hiredis

from broker.commit.committer import FULL_PAUSE_S, Committer
from store import cluster, session_store
from store.cluster import StoredWill, WillMessage
from store.commit_log import COMMIT, FREEING_COMMIT, CommitLog
from store.link import StoreLink
from store.model import Message
from tests.commit.lone import UNREACHABLE, lone_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.commit.batch import Batch
    from store.link import Replies

STORED: Any = [1, 0, [], 0, 0, [], 0, 0]
OUT_OF_MEMORY = hiredis.ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
MESSAGE = Message("t", "publisher", 1_000, 1, b"payload")
WILL = WillMessage("will", "publisher", 1_000, 1, b"gone")


class ScriptedLink:
    """A link whose answers the test gives, one request at a time."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, Callable[[Replies | None], None]]] = []
        self.is_asked = asyncio.Event()

    def request(self, data: bytes, _: int, on_replies: Callable[[Replies | None], None]) -> None:
        self.requests.append((data, on_replies))
        self.is_asked.set()

    def answer(self, reply: Any) -> bytes:
        """Answer the oldest request; None: the connection breaks. Returns what was asked."""
        data, on_replies = self.requests.pop(0)
        self.is_asked.clear()
        on_replies(None if reply is None else [reply])
        return data


class Commits:
    """A committer over a scripted link; `admits`: whether messages may be stored."""

    def __init__(self) -> None:
        self.link = ScriptedLink()
        self.admits = True
        self.stored: list[Batch] = []
        self.committer = Committer(
            self.link,  # type: ignore[arg-type]
            CommitLog("node", is_fsynced=False, max_retained=1, queue_messages=1, queue_bytes=1, queue_age_s=1),
            batch_messages=100,
            batch_bytes=1_000_000,
            backlog_bytes=1_000_000,
            prepare=lambda _: None,
            on_stored=lambda batch, _: self.stored.append(batch),
            on_congestion=lambda _: None,
            peers=lone_peers(StoreLink(UNREACHABLE)),
            now_ms=lambda: 0,
            admits_messages=lambda: self.admits,
        )

    async def next_request(self) -> bytes:
        """Wait for the next request, and return it without answering."""
        await asyncio.wait_for(self.link.is_asked.wait(), 5)
        return self.link.requests[0][0]


def is_freeing(request: bytes) -> bool:
    assert (COMMIT.sha.encode() in request) != (FREEING_COMMIT.sha.encode() in request)
    return FREEING_COMMIT.sha.encode() in request


async def test_changes_leave_while_messages_wait() -> None:
    commits = Commits()
    commits.admits = False

    def unsubscribed() -> None:
        """Have UNSUBACK sent."""

    commits.committer.add(MESSAGE, None, 1, [session_store.receive("publisher", 7)])
    commits.committer.operate([session_store.unsubscribe("client", "filter")], unsubscribed)
    request = await commits.next_request()
    assert is_freeing(request)
    assert b"payload" not in request
    assert b"SADD" not in request  # it belongs to the message
    commits.link.answer(STORED)
    assert commits.stored[0].then == [unsubscribed]
    commits.admits = True
    request = await commits.next_request()
    assert not is_freeing(request)
    assert b"payload" in request
    assert b"SADD" in request
    commits.link.answer(STORED)
    assert [len(batch.messages) for batch in commits.stored] == [0, 1]
    assert commits.committer.backlog_bytes == 0


async def test_a_commit_that_is_refused_for_memory_waits_and_its_changes_leave() -> None:
    commits = Commits()
    commits.committer.add(MESSAGE)
    commits.committer.operate([session_store.unsubscribe("client", "filter")])
    assert not is_freeing(await commits.next_request())
    commits.link.answer(OUT_OF_MEMORY)
    request = await commits.next_request()
    assert is_freeing(request)
    assert b"payload" not in request
    commits.link.answer(STORED)
    await asyncio.wait_for(asyncio.shield(_message_leaves(commits)), FULL_PAUSE_S + 5)
    assert commits.committer.backlog_bytes == 0


async def _message_leaves(commits: Commits) -> None:
    request = await commits.next_request()
    assert not is_freeing(request)
    assert b"payload" in request
    commits.link.answer(STORED)


async def test_a_commit_that_may_be_stored_is_repeated_under_its_number() -> None:
    """Put back, it would leave its number to another batch, which the store would then take for a repeat."""
    commits = Commits()
    commits.committer.add(MESSAGE)
    first = await commits.next_request()
    commits.link.answer(None)
    commits.committer.link_is_up()
    assert await commits.next_request() == first
    commits.link.answer(OUT_OF_MEMORY)
    again = await commits.next_request()
    assert is_freeing(again)
    assert again.replace(FREEING_COMMIT.sha.encode(), COMMIT.sha.encode()) == first
    commits.link.answer(STORED)
    assert [len(batch.messages) for batch in commits.stored] == [1]


async def test_what_a_client_left_unstored_is_forgotten_and_its_will_is_not() -> None:
    commits = Commits()
    commits.admits = False
    commits.committer.operate([session_store.unsubscribe("client", "filter")])
    await commits.next_request()
    commits.link.answer(STORED)
    commits.committer.add(MESSAGE, None, 1, [session_store.receive("publisher", 7)])
    commits.committer.add(WILL, operations=[cluster.clear_will("node", "publisher")])
    commits.committer.discard("publisher")
    commits.admits = True
    request = await commits.next_request()
    assert b"payload" not in request
    assert b"SADD" not in request
    assert b"gone" in request
    assert b"HDEL" in request
    assert commits.committer.dropped == 1


async def test_a_waiting_will_is_due_before_its_client_connects_again() -> None:
    commits = Commits()
    commits.admits = False
    commits.committer.operate([session_store.unsubscribe("client", "filter")])
    await commits.next_request()
    commits.link.answer(STORED)
    commits.committer.add(WILL, operations=[cluster.clear_will("node", "publisher")])
    commits.committer.own(cluster.own("publisher", is_new=False), lambda: None)
    commits.committer.operate([cluster.set_will("node", "publisher", StoredWill(MESSAGE, 0))])
    request = await commits.next_request()
    assert request.index(b"c:publisher") < request.index(b"d:publisher") < request.index(b"own")
    assert request.index(b"own") < request.rindex(b"c:publisher")  # the will that it has set since
    commits.link.answer(STORED)
    commits.admits = True
    request = await commits.next_request()
    assert b"gone" in request
    assert b"d:publisher" in request
    assert b"c:publisher" not in request  # that would remove the will that was set since
