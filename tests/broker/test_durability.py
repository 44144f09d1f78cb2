"""Acknowledged means stored, whatever dies: the broker by SIGKILL here, the store in test_store_outage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from broker_process import eventually
from raw import ClosedError, RawClient
from stored_messages import await_stored, stored_messages, stored_payloads, views

from local.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker_process import BrokerProcess

ROUNDS = 20
BURST = 200


def _acknowledged(connection: RawClient, wanted: int) -> set[int]:
    """Return the packet identifiers that were acknowledged, at least `wanted` of them."""
    identifiers: set[int] = set()
    while len(identifiers) < wanted:
        packet = connection.receive(mqtt.PUBACK, mqtt.PUBREC)
        identifiers.add(mqtt.read_acknowledgement(connection.version, packet).packet_id)
    return identifiers


def _drain_acknowledged(connection: RawClient) -> set[int]:
    """Return what was acknowledged before the broker was gone."""
    identifiers: set[int] = set()
    try:
        while True:
            identifiers |= _acknowledged(connection, 1)
    except ClosedError:
        return identifiers


@pytest.mark.timeout(180)
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(
    start_broker: Callable[..., BrokerProcess], qos: int
) -> None:
    process = start_broker()
    acknowledged: set[bytes] = set()
    for round_number in range(ROUNDS):
        with RawClient(process.host, process.port, 4) as publisher:
            publisher.connect(f"round-{round_number}")
            publisher.send(
                b"".join(
                    mqtt.publish(4, "devices/1/t", b"%d:%d" % (round_number, each), qos=qos, packet_id=each)
                    for each in range(1, BURST + 1)
                )
            )
            identifiers = _acknowledged(publisher, 1 + round_number * 7 % BURST)
            process.kill()
            identifiers |= _drain_acknowledged(publisher)
        acknowledged |= {b"%d:%d" % (round_number, each) for each in identifiers}
        process.start()
    stored = stored_payloads(process.store_url)
    assert acknowledged - set(stored) == set()
    assert len(acknowledged) >= ROUNDS
    assert "Traceback" not in process.log


def test_a_puback_comes_after_the_store_holds_the_message(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 5) as publisher:
        publisher.connect("one")
        for number in range(50):
            publisher.publish("devices/1/t", b"%d" % number, qos=1)
            assert stored_payloads(process.store_url)[-1] == b"%d" % number


def test_every_message_is_stored_in_order_with_what_is_known_of_it(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 5) as publisher:
        publisher.connect("a-client")
        for qos in (0, 1, 2):
            publisher.publish(f"devices/{qos}/t", b"%d" % qos, qos=qos, retain=qos == 1)
        publisher.ping()
        await_stored(process.store_url, {b"0", b"1", b"2"})
    stored = stored_messages(process.store_url)
    assert [(each.topic_name, each.client_id, each.qos, each.is_retain, each.payload) for each in stored] == [
        (f"devices/{qos}/t", "a-client", qos, qos == 1, b"%d" % qos) for qos in (0, 1, 2)
    ]


def test_views_hold_every_acknowledged_message_after_a_crash(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("views")
        for number in range(300):
            publisher.publish(f"devices/{number % 3}/t", json.dumps({"t": number}).encode(), qos=1)
        process.restart()
    with views(process.store_url) as query:

        def counted() -> list[int]:
            return [device.messages for device in map(query.device, "012") if device is not None]

        eventually(lambda: counted() == [100] * 3, "each of three devices has its 100 messages, none twice", 20)
        history = [query.messages(each, 1000).rows for each in "012"]
    for number, rows in enumerate(history):
        assert [json.loads(row.payload)["t"] for row in reversed(rows)] == list(range(number, 300, 3))


def test_acknowledged_to_disk_is_stored(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(ACK_AFTER="disk")
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("disk")
        for number in range(5):
            publisher.publish("devices/1/t", b"%d" % number, qos=1)
    assert stored_payloads(process.store_url) == [b"%d" % number for number in range(5)]


def test_qos_2_is_stored_once_over_a_crash_before_its_release(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("lasting", clean=False)
        publisher.send(mqtt.publish(4, "devices/1/t", b"once", qos=2, packet_id=9))
        publisher.receive(mqtt.PUBREC)
    process.restart()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("lasting", clean=False)
        publisher.send(mqtt.publish(4, "devices/1/t", b"once", qos=2, packet_id=9, dup=True))
        publisher.receive(mqtt.PUBREC)
        publisher.send(mqtt.acknowledgement(mqtt.PUBREL, 9))
        publisher.receive(mqtt.PUBCOMP)
        publisher.send(mqtt.publish(4, "devices/1/t", b"the next one", qos=2, packet_id=9))
        publisher.receive(mqtt.PUBREC)
    assert stored_payloads(process.store_url) == [b"once", b"the next one"]


def test_acknowledgements_from_disk_need_a_server_that_gives_them(
    tmp_path: Path, new_broker: Callable[..., BrokerProcess]
) -> None:
    old = EmbeddedValkey(tmp_path / "old", options=("--rename-command", "WAITAOF", ""))  # as before Redis 7.2
    old.start()
    process = new_broker(REDIS_URL=old.url, ALLOW_ANONYMOUS="true", ACK_AFTER="disk")
    process.start()
    with RawClient(process.host, process.port) as publisher:
        # Not even CONNECT: who serves a client has to be stored too.
        publisher.send(mqtt.connect(5, "publisher") + mqtt.publish(5, "devices/1/t", b"x", qos=1, packet_id=1))
        eventually(lambda: "ACK_AFTER=disk needs Redis 7.2" in process.log, "the log says what is missing")
        publisher.expect_nothing(0.3)
    process.kill()
    old.stop()
