"""`messages_delivered` counts PUBLISH packets that were written to a client, as Mosquitto's publish/messages/sent does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

NO_LOCAL = 0x04
only_5 = pytest.mark.parametrize("version", [5], ids=["5"])


def _counts(process: BrokerProcess) -> list[tuple[int, int]]:
    """Return messages received and sent, as each node's heartbeat has them."""
    with redis.Redis.from_url(process.store_url) as client:
        infos = [client.hgetall(schema.node_info(node.decode())) for node in client.zrange(schema.NODES, 0, -1)]
    return sorted((int(each.get(b"messages_received", 0)), int(each.get(b"messages_delivered", 0))) for each in infos)


def _await_counts(process: BrokerProcess, *expected: tuple[int, int]) -> None:
    eventually(lambda: [each[0] for each in _counts(process)] == [each[0] for each in expected], "heartbeats", 20)
    eventually(lambda: _counts(process) == list(expected), f"{expected}, not {_counts(process)}", 5)


@only_5
def test_what_no_client_was_sent_is_not_counted(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], open_client: Callable[..., RawClient]
) -> None:
    process = start_broker()
    own = client("own", at=process)
    own.subscribe(("t", NO_LOCAL | 1))
    away = client("away", at=process, clean=False, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 300)])
    away.subscribe(("t", 1))
    away.disconnect()
    small = client("small", at=process, props=[(mqtt.MAXIMUM_PACKET_SIZE, 60)])
    small.subscribe(("t", 1))
    assert own.publish("t", bytes(100), qos=1) == 0
    _await_counts(process, (1, 0))
    own.subscribe(("$SYS/broker/publish/messages/sent", 0))
    assert own.receive_publish().payload == b"0"


@only_5
def test_each_packet_that_is_sent_is_counted(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient]
) -> None:
    process = start_broker()
    publisher = client("publisher", at=process)
    lasting = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
    forgetful = client("forgetful", at=process, **lasting)
    for qos, each in enumerate((client("zero", at=process), client("one", at=process), forgetful)):
        each.subscribe(("t", qos))
    assert publisher.publish("t", b"1", qos=2, retain=True) == 0  # three are sent
    forgetful.receive_publish(acknowledge=False)
    forgetful.close()
    again = client("forgetful", at=process, **lasting)
    assert again.receive_publish().dup  # a fourth
    late = client("late", at=process)
    late.subscribe(("t", 1))
    assert late.receive_publish().retain  # a fifth: what was retained
    _await_counts(process, (1, 5))


@only_5
def test_a_copy_is_counted_by_the_node_that_sends_it(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient]
) -> None:
    here, there = start_broker(), start_broker()
    subscriber, publisher = client("there", at=there), client("here", at=here)
    subscriber.subscribe(("t", 1))
    assert publisher.publish("t", b"1", qos=1) == 0
    subscriber.receive_publish()
    _await_counts(here, (0, 1), (1, 0))
