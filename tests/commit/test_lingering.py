"""Where there are other nodes, a message lets what is sent to them just before it overtake it (docs/decisions/0006)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker.commit import committer as committer_module
from store.link import StoreLink
from store.model import Message
from tests.commit.lone import BATCH_MESSAGES, UNREACHABLE, lone_committer, lone_peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.cluster.membership import Membership
    from broker.commit.committer import Committer
    from store.link import Replies

DEADLINE_S = 10


class RecordingLink(StoreLink):
    """A link that keeps what it is asked, and never has an answer."""

    def __init__(self) -> None:
        super().__init__(UNREACHABLE)
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()

    def request(self, data: bytes, _count: int, _callback: Callable[[Replies | None], None]) -> None:
        self.requests.append(data)
        self.asked.set()


@pytest.fixture(autouse=True)
def long_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer for a turn of the loop than what is in force."""
    monkeypatch.setattr(committer_module, "LINGER_S", 0.5)


@pytest.fixture
async def link() -> RecordingLink:
    return RecordingLink()


@pytest.fixture
def peers(link: RecordingLink) -> Membership:
    return lone_peers(link)


@pytest.fixture
async def committer(link: RecordingLink, peers: Membership) -> Committer:
    return lone_committer(link, peers)


def message(payload: bytes) -> Message:
    return Message("topic", "client", 0, 1, payload)


async def a_turn_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_without_others_a_message_leaves_at_once(link: RecordingLink, committer: Committer) -> None:
    committer.add(message(b"alone"))
    await a_turn_of_the_loop()
    assert len(link.requests) == 1


async def test_with_others_it_leaves_a_little_later(
    link: RecordingLink, peers: Membership, committer: Committer
) -> None:
    peers.has_others = True
    committer.add(message(b"one"))
    await a_turn_of_the_loop()
    committer.add(message(b"two"))
    assert link.requests == []
    await asyncio.wait_for(link.asked.wait(), DEADLINE_S)
    (data,) = link.requests
    assert b"one" in data
    assert b"two" in data


async def test_what_is_no_message_takes_it_along_at_once(
    link: RecordingLink, peers: Membership, committer: Committer
) -> None:
    peers.has_others = True
    committer.add(message(b"one"))
    committer.operate(())
    await a_turn_of_the_loop()
    (data,) = link.requests
    assert b"one" in data


async def test_a_full_batch_leaves_at_once(link: RecordingLink, peers: Membership, committer: Committer) -> None:
    peers.has_others = True
    for _ in range(BATCH_MESSAGES):
        committer.add(message(b"one of many"))
    await a_turn_of_the_loop()
    assert len(link.requests) == 1
