"""Every client connects and parts: credentials, wills, takeover, keep alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from foreign_client import PASSWORD, USERNAME, RefusedError, Will
from foreign_clients import KINDS, Kind

from tests.broker import mqtt_bytes as mqtt
from tests.net.network_client import open_socket, read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuttable_network import CuttableNetwork
    from foreign_client import ForeignClient

    from tests.broker.broker_process import BrokerProcess

PAHO = Kind("paho", 5)
KEEP_ALIVE_S = 4


def test_credentials_open_the_door(kind: Kind, make_client: Callable[..., ForeignClient]) -> None:
    assert make_client(kind, username=USERNAME, password=PASSWORD).connect() is False
    refused = make_client(kind, username=USERNAME, password="wrong")
    with pytest.raises(RefusedError) as refusal:
        refused.connect()
    assert refusal.value.code in ({0x86} if kind.version == 5 or kind.library == "paho" else {4})


def test_a_will_is_published_when_the_network_fails(
    kind: Kind, network: CuttableNetwork, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    watcher = connected(kind)
    watcher.subscribe(topic, 1)
    connected(kind, at=network, will=Will(topic, b"gone", 1))
    network.cut()
    message = watcher.next()
    assert (message.payload, message.qos, message.is_retain) == (b"gone", 1, False)


def test_a_retained_will_waits_for_subscribers(
    kind: Kind, network: CuttableNetwork, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    watcher = connected(kind)
    watcher.subscribe(topic)
    connected(kind, at=network, will=Will(topic, b"offline", 0, is_retain=True))
    network.cut()
    assert watcher.next().payload == b"offline"
    late = connected(kind)
    late.subscribe(topic)
    message = late.next()
    assert (message.payload, message.is_retain) == (b"offline", True)


def test_a_clean_disconnect_leaves_no_will(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    watcher = connected(kind)
    watcher.subscribe(topic)
    leaving = connected(kind, will=Will(topic, b"gone"))
    leaving.disconnect()
    connected(kind, client_id=leaving.options.client_id).publish(topic, b"back", 1)
    assert watcher.next().payload == b"back"


def test_a_second_client_takes_the_session_over(
    kind: Kind, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    first = connected(kind)
    second = connected(kind, client_id=first.options.client_id)
    assert first.ended.wait(10)
    if kind.version == 5:
        assert first.end_reason_code == 0x8E  # [v5 MQTT-3.1.4-3]
    second.subscribe(topic)
    second.publish(topic, b"mine")
    assert second.next().payload == b"mine"


def test_clients_keep_quiet_connections_alive(
    broker: BrokerProcess, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    """All at once, for as long as it takes the broker to give up on a client that sends no PINGREQ."""
    quiet = [connected(kind, keep_alive_s=KEEP_ALIVE_S) for kind in KINDS]
    with open_socket(broker) as silent:
        silent.sendall(mqtt.connect(4, name(), keep_alive_s=KEEP_ALIVE_S))
        read_to_end(silent)
    for client in quiet:
        assert not client.ended.is_set()
        topic = name()
        client.subscribe(topic)
        client.publish(topic, b"still here", 1)
        assert client.next().payload == b"still here"


def test_a_client_that_may_reconnect_does(
    kind: Kind, network: CuttableNetwork, connected: Callable[..., ForeignClient], name: Callable[[], str]
) -> None:
    topic = name()
    returning = connected(kind, at=network, is_lasting=True, reconnects=True)
    returning.subscribe(topic, 1)
    network.cut()
    connected(PAHO).publish(topic, b"welcome back", 1)
    assert returning.next().payload == b"welcome back"
