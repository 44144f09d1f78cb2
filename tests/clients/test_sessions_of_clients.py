"""Every client has a session that outlives its connection, and one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign_clients import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuttable_network import CuttableNetwork
    from foreign_client import ForeignClient

PAHO = Kind("paho", 5)


@pytest.mark.parametrize("is_cut", [False, True], ids=["disconnected", "cut off"])
def test_messages_wait_for_a_lasting_session(
    kind: Kind,
    network: CuttableNetwork,
    make_client: Callable[..., ForeignClient],
    connected: Callable[..., ForeignClient],
    name: Callable[[], str],
    is_cut: bool,
) -> None:
    topic, client_id, publisher = name(), name(), connected(PAHO)
    first = make_client(kind, client_id=client_id, is_lasting=True, at=network)
    assert first.connect() is False
    first.subscribe(f"{topic}/#", 2)
    if is_cut:
        network.cut()
        assert first.ended.wait(10)
    else:
        first.disconnect()
    for number in range(30):
        publisher.start_publish(f"{topic}/{number % 2}", b"%d" % number, 1 + number % 2)
    publisher.await_published()
    again = make_client(kind, client_id=client_id, is_lasting=True)
    assert again.connect() is (kind.version != 3)  # MQTT 3.1 has no Session Present
    received = again.take(30)
    for odd in (0, 1):  # order holds within a topic: a client may hand QoS 2 on when it is released
        of_topic = [(int(each.payload), each.qos) for each in received if each.topic_name == f"{topic}/{odd}"]
        assert of_topic == [(number, 1 + odd) for number in range(odd, 30, 2)]
    publisher.publish(f"{topic}/0", b"live", 2)
    assert again.next().payload == b"live"


def test_a_clean_session_starts_without_what_was(
    kind: Kind,
    make_client: Callable[..., ForeignClient],
    connected: Callable[..., ForeignClient],
    name: Callable[[], str],
) -> None:
    topic, client_id, publisher = name(), name(), connected(PAHO)
    first = connected(kind, client_id=client_id, is_lasting=True)
    first.subscribe(topic, 1)
    first.disconnect()
    publisher.publish(topic, b"lost", 1)
    clean = make_client(kind, client_id=client_id)
    assert clean.connect() is False
    publisher.publish(topic, b"not subscribed", 1)
    clean.subscribe(topic, 1)
    publisher.publish(topic, b"new", 1)
    assert clean.next().payload == b"new"
