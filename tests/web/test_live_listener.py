"""A listener's filter, bounds and count of what it missed."""

from __future__ import annotations

import pytest

from store.answers import StoredMessage
from store.model import MessageId
from web.live.listener import WAITING_MESSAGES, Listener
from web.live.selection import Selection


def stored(seq: int, topic_name: str = "devices/a/t", device_id: str = "a") -> StoredMessage:
    return StoredMessage(MessageId(1, seq), device_id, "c", 1, topic_name, 1, False, b"1")


@pytest.mark.parametrize("topic_filter", ["a/#/b", "a+", "#a", "a/b#"])
def test_topic_filter_that_mqtt_does_not_allow_is_refused(topic_filter: str):
    with pytest.raises(ValueError, match="whole level"):
        Selection(topic_filter=topic_filter)


def test_only_wanted_messages_are_taken():
    listener = Listener(Selection(device_id="b"))
    listener.offer([stored(1), stored(2, device_id="b"), stored(3)])
    taken = listener.take(0)
    assert [message.id.seq for message in taken.messages] == [2]
    assert taken.skipped == 0


def test_messages_beyond_the_rate_are_counted_as_skipped():
    listener = Listener(Selection(), messages_per_s=10)
    listener.offer(stored(seq) for seq in range(25))
    taken = listener.take(0)
    assert len(taken.messages) == 10
    assert taken.skipped == 15


def test_messages_beyond_the_queue_are_counted_as_skipped():
    listener = Listener(Selection(), messages_per_s=10_000)
    listener.offer(stored(seq) for seq in range(WAITING_MESSAGES + 5))
    taken = listener.take(0)
    assert len(taken.messages) == WAITING_MESSAGES
    assert taken.skipped == 5


def test_closed_listener_ends_a_wait_at_once():
    listener = Listener(Selection())
    listener.close()
    assert listener.take(60).is_closed
