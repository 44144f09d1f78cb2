"""Time-outs: CONNECT that does not come, and keep alive (MQTT 5.0 §3.1.2.10)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient


def test_a_client_without_connect_is_closed(
    start_broker: Callable[..., BrokerProcess], open_client: Callable[..., RawClient]
) -> None:
    process = start_broker(CONNECT_TIMEOUT_S="1")
    began = time.monotonic()
    silent, slow = open_client(process), open_client(process)
    slow.send(mqtt.connect(4, "never whole")[:-1])
    assert silent.receive_until_closed(5) == []
    assert slow.receive_until_closed(5) == []
    assert time.monotonic() - began > 0.9


def test_mqtt_3_1_2_24_silence_beyond_one_and_a_half_keep_alives_closes(
    client: Callable[..., RawClient], name: Callable[[], str], version: int
) -> None:
    """[v3.1.1 MQTT-3.1.2-24], [v5 MQTT-3.1.2-22]."""
    topic = name()
    watcher = client(name())
    watcher.subscribe(topic)
    began = time.monotonic()
    silent = client(name(), keep_alive_s=1, will=mqtt.Will(topic, b"gone", qos=1))
    packets = silent.receive_until_closed(5)
    assert 1.4 < time.monotonic() - began < 5
    if version == 5:
        assert [mqtt.read_disconnect(each) for each in packets] in ([], [0x8D])
    else:
        assert packets == []
    assert watcher.receive_publish().payload == b"gone"


def test_any_packet_keeps_the_connection(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    lively = client(name(), keep_alive_s=1)
    for sign_of_life in (lively.ping, lambda: lively.publish(name(), b"x"), lambda: lively.subscribe(name())):
        sign_of_life()
        lively.expect_nothing(0.9)
    lively.ping()


def test_packets_from_the_server_do_not_count(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    """[v5 MQTT-3.1.2-22]: it is the client's packets that keep the connection."""
    topic = name()
    silent, publisher = client(name(), keep_alive_s=1), client(name())
    silent.subscribe((topic, 0))
    for _ in range(3):
        publisher.publish(topic, b"x")
        publisher.expect_nothing(0.5)
    packets = silent.receive_until_closed(2)
    assert {packet.type for packet in packets} <= {mqtt.PUBLISH, mqtt.DISCONNECT}


def test_a_keep_alive_of_zero_never_closes(client: Callable[..., RawClient], name: Callable[[], str]) -> None:
    patient = client(name(), keep_alive_s=0)
    patient.expect_nothing(2)
    patient.ping()
