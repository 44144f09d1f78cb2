"""Starting with good and bad settings, and leaving on SIGTERM (promises 8 and 10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from broker_process import eventually
from raw import ClosedError, RawClient
from stored_messages import stored_payloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, ["MQTT_USERNAME", "MQTT_PASSWORD", "ALLOW_ANONYMOUS"]),
        ({"MQTT_USERNAME": "device"}, ["MQTT_PASSWORD"]),
        ({"MQTT_PASSWORD": "secret-word"}, ["MQTT_USERNAME"]),
        ({"ALLOW_ANONYMOUS": "perhaps", "SEND_WINDOW": "0", "QUEUE_BYTES": "x"},
         ["ALLOW_ANONYMOUS", "SEND_WINDOW", "QUEUE_BYTES"]),
        ({"ALLOW_ANONYMOUS": "true", "REDIS_URL": "http://secret-word@x"}, ["REDIS_URL"]),
        ({"ALLOW_ANONYMOUS": "true", "REDIS_URL": ""}, ["REDIS_URL"]),
    ],
)  # fmt: skip
def test_the_start_is_refused_with_a_line_for_each_problem(
    new_broker: Callable[..., BrokerProcess], settings: dict[str, str], named: list[str]
) -> None:
    process = new_broker(**{"REDIS_URL": "redis://127.0.0.1:1/0", **settings})
    process.launch()
    assert process.wait() not in (0, -15)
    assert [each for each in named if each not in process.log] == []
    assert "Traceback" not in process.log
    assert "secret-word" not in process.log


def test_a_port_that_is_taken_is_said_plainly(
    start_broker: Callable[..., BrokerProcess], new_broker: Callable[..., BrokerProcess]
) -> None:
    first = start_broker()
    second = new_broker(REDIS_URL=first.store_url, ALLOW_ANONYMOUS="true", PORT=str(first.port))
    second.launch()
    assert second.wait() != 0
    assert str(first.port) in second.log
    assert "Traceback" not in second.log


def test_sigterm_leaves_cleanly(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    clients = {level: RawClient(process.host, process.port, level) for level in (3, 4, 5)}
    for level, each in clients.items():
        each.connect(f"c{level}")
        each.subscribe("#")
    began = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began < 10
    for level, each in clients.items():
        codes = [mqtt.read_disconnect(packet) for packet in each.receive_until_closed()]
        assert codes == ([0x8B] if level == 5 else [])
        each.close()
    assert "Traceback" not in process.log


def test_sigterm_under_load_loses_nothing_acknowledged(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    acknowledged = set()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("busy")
        publisher.send(
            b"".join(mqtt.publish(4, "devices/1/t", b"%d" % each, qos=1, packet_id=each) for each in range(1, 3001))
        )
        publisher.receive(mqtt.PUBACK)
        acknowledged.add(b"1")
        process.signal_stop()
        try:
            while True:
                packet_id = mqtt.read_acknowledgement(4, publisher.receive(mqtt.PUBACK)).packet_id
                acknowledged.add(b"%d" % packet_id)
        except ClosedError:
            pass
    assert process.wait() == 0
    assert acknowledged - set(stored_payloads(process.store_url)) == set()


def test_sigterm_does_not_wait_for_a_store_that_is_gone(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    process = start_broker()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("unlucky")
        store.pause()
        publisher.send(mqtt.publish(4, "devices/1/t", b"x", qos=1, packet_id=1))
        publisher.expect_nothing(0.3)
        began = time.monotonic()
        process.signal_stop()
        process.wait()
        assert time.monotonic() - began < 15
        assert [each for each in publisher.receive_until_closed() if each.type == mqtt.PUBACK] == []
    store.resume()


def test_a_second_start_serves_again(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker()
    process.terminate()
    process.start()
    with RawClient(process.host, process.port, 4) as client:
        assert client.connect("again").code == 0


def test_the_start_is_logged_without_credentials(start_broker: Callable[..., BrokerProcess]) -> None:
    process = start_broker(ALLOW_ANONYMOUS="false", MQTT_USERNAME="device", MQTT_PASSWORD="not-to-be-seen")
    eventually(lambda: str(process.port) in process.log, "a line that says where it listens")
    assert "not-to-be-seen" not in process.log
