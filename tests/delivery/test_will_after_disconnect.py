"""[v5 MQTT-3.14.4-3] No will is published after DISCONNECT: the store forgets it before the client sees its socket closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
from raw import RawClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.broker.broker_process import BrokerProcess
    from tests.delivery.conftest import Nodes

At = Any  # the fixture `at`: connects a client of MQTT 5 to a node
PERSISTENT: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
KINDS = pytest.mark.parametrize("kind", [PERSISTENT, {}], ids=["persistent", "clean"])
PATIENCE_S = 30


def will(payload: bytes) -> mqtt.Will:
    return mqtt.Will("wills", payload, qos=1)


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("is_clean", [True, False], ids=["clean", "persistent"])
def test_the_socket_stays_open_until_the_store_has_forgotten_the_will(
    three: Nodes, name: Callable[[], str], version: int, is_clean: bool
) -> None:
    with RawClient(three[0].host, three[0].port, version) as client:
        assert client.connect(name(), will=will(b"never"), clean=is_clean).code == 0
        three.store.pause()
        client.send(mqtt.disconnect(version))
        client.expect_nothing(0.5)
        three.store.resume()
        assert client.receive_until_closed() == []


@KINDS
@pytest.mark.parametrize("count", [1, 3])
def test_a_kill_right_behind_the_closed_socket_publishes_no_will(
    new_nodes: Callable[[int], Nodes],
    at: At,
    has_read: Callable[[BrokerProcess], None],
    kind: dict[str, Any],
    count: int,
) -> None:
    """The store is frozen as long as the socket is open, if only for half a second."""
    nodes = new_nodes(count)
    watcher_at = nodes[count - 1]
    busy = at(nodes[0], "busy")
    at(watcher_at, "watcher", **PERSISTENT).subscribe(("wills", 1))
    at(nodes[0], "lost", will=will(b"due"))
    polite = at(nodes[0], "polite", will=will(b"never"), **kind)
    nodes.store.pause()
    busy.send(mqtt.subscribe(5, 1, [("t", 1)]))
    has_read(nodes[0])  # so what comes next is not on its way yet
    polite.send(mqtt.disconnect(5))
    try:
        polite.receive_until_closed(0.5)
    except TimeoutError:
        nodes.store.resume()
        polite.receive_until_closed()
    nodes[0].kill()
    nodes.store.resume()
    if count == 1:
        nodes[0].start()
    watcher = at(watcher_at, "watcher", **PERSISTENT)
    assert watcher.receive_publish(deadline_s=PATIENCE_S).payload == b"due"
    assert [each.payload for each in watcher.receive_until_quiet(0.5)] == []
