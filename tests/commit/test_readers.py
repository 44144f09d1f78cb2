"""Connections are told when what they have brought is stored, whichever batch it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_lingering import RecordingLink, a_turn_of_the_loop, message

from tests.commit.lone import lone_committer, lone_peers

if TYPE_CHECKING:
    from broker.commit.committer import Committer


class Reader:
    def __init__(self) -> None:
        self.stored_bytes: list[int] = []

    def stored(self, size_bytes: int) -> None:
        self.stored_bytes.append(size_bytes)


@pytest.fixture
async def committer() -> Committer:
    link = RecordingLink()
    return lone_committer(link, lone_peers(link))


async def test_nothing_to_store_tells_nobody(committer: Committer) -> None:
    assert not committer.notify_stored(Reader(), 1, has_messages=True)


async def test_a_reader_is_told_with_the_last_batch_that_has_something_of_it(committer: Committer) -> None:
    reader = Reader()
    committer.add(message(b"one"))
    assert committer.notify_stored(reader, 1, has_messages=True)
    await a_turn_of_the_loop()
    assert committer.notify_stored(reader, 2, has_messages=True)  # nothing collects: the batch on its way is the last
    committer.add(message(b"two"))
    assert committer.notify_stored(reader, 3, has_messages=True)
    committer._stored(None)
    assert reader.stored_bytes == [1, 2]
    committer._stored(None)
    assert reader.stored_bytes == [1, 2, 3]


async def test_a_full_batch_counts(committer: Committer) -> None:
    reader = Reader()
    for _ in range(3):
        committer.add(message(b"x"))
    assert committer.notify_stored(reader, 7, has_messages=True)
    await a_turn_of_the_loop()
    committer._stored(None)
    assert reader.stored_bytes == [7]


async def test_a_batch_whose_changes_leave_alone_tells_at_once(committer: Committer) -> None:
    reader = Reader()
    committer.operate((), lambda: None)
    assert committer.notify_stored(reader, 5, has_messages=False)
    committer._hold()
    assert reader.stored_bytes == [5]
