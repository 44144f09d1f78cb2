"""Clients that others wrote: paho-mqtt, amqtt's client, mosquitto_pub and mosquitto_sub."""

from __future__ import annotations

import asyncio
import queue
import subprocess
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from amqtt.client import MQTTClient
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Address

DEADLINE_S = 10
from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


class Paho:
    """A paho-mqtt client that puts what it receives into a queue."""

    def __init__(self, broker: Address, client_id: str, version: int) -> None:
        self.received: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._subscribed: queue.Queue[object] = queue.Queue()
        self._connected: queue.Queue[object] = queue.Queue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion(version))
        self.client.on_message = lambda _client, _data, message: self.received.put(message)
        self.client.on_subscribe = lambda *_: self._subscribed.put(None)
        self.client.on_connect = lambda *arguments: self._connected.put(arguments[3])
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert self._connected.get(timeout=DEADLINE_S) == 0

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self.client.subscribe(topic_filter, qos)
        self._subscribed.get(timeout=DEADLINE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes_and_receives(broker: Address, name: Callable[[], str], version: int, qos: int) -> None:
    topic = name()
    subscriber, publisher = Paho(broker, name(), version), Paho(broker, name(), version)
    subscriber.subscribe(f"{topic}/#", qos)
    for number in range(100):
        publisher.client.publish(f"{topic}/{number % 3}", b"%d" % number, qos).wait_for_publish(DEADLINE_S)
    received = [subscriber.received.get(timeout=DEADLINE_S) for _ in range(100)]
    assert [int(each.payload) for each in received] == list(range(100))
    assert {each.qos for each in received} == {qos}
    subscriber.close()
    publisher.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_amqtts_client_publishes_and_receives(broker: Address, name: Callable[[], str], qos: int) -> None:
    topic, client = name(), MQTTClient(client_id=name(), config={"auto_reconnect": False})
    await client.connect(f"mqtt://{broker.host}:{broker.port}/")
    await client.subscribe([(topic, qos)])
    for number in range(20):
        await client.publish(topic, b"%d" % number, qos=qos)
    received = []
    for _ in range(20):
        message = await asyncio.wait_for(client.deliver_message(), DEADLINE_S)
        assert message is not None
        received.append(bytes(message.data))
    assert received == [b"%d" % number for number in range(20)]
    await client.disconnect()


MOSQUITTO_VERSIONS = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquittos_tools_publish_and_receive(broker: Address, name: Callable[[], str], version: int, qos: str) -> None:
    topic = name()
    common = ["-h", broker.host, "-p", str(broker.port), "-V", MOSQUITTO_VERSIONS[version], "-t", topic, "-q", qos]
    subprocess.run(["mosquitto_pub", *common, "-i", name(), "-r", "-m", "kept"], check=True, timeout=DEADLINE_S)
    subscriber = subprocess.Popen(
        ["mosquitto_sub", *common, "-i", name(), "-C", "4", "-W", "10"], stdout=subprocess.PIPE, text=True
    )
    assert subscriber.stdout is not None
    with subscriber:
        assert subscriber.stdout.readline() == "kept\n"  # it is subscribed now
        subprocess.run(
            ["mosquitto_pub", *common, "-i", name(), "-l"],
            input="one\ntwo\nthree\n",
            text=True,
            check=True,
            timeout=DEADLINE_S,
        )
        assert subscriber.stdout.read() == "one\ntwo\nthree\n"
    assert subscriber.returncode == 0


def test_mosquitto_sub_sees_a_persistent_session(broker: Address, name: Callable[[], str]) -> None:
    topic, client_id = name(), name()
    common = ["-h", broker.host, "-p", str(broker.port), "-t", topic, "-q", "1"]
    lasting = ["mosquitto_sub", *common, "-i", client_id, "-c"]
    subprocess.run([*lasting, "-E"], check=True, timeout=DEADLINE_S)  # subscribe and leave
    subprocess.run(["mosquitto_pub", *common, "-l"], input="a\nb\n", text=True, check=True, timeout=DEADLINE_S)
    back = subprocess.run([*lasting, "-C", "2", "-W", "10"], stdout=subprocess.PIPE, text=True, check=True, timeout=15)
    assert back.stdout == "a\nb\n"


@from_3_1_1
def test_paho_reconnects_after_a_takeover(broker: Address, name: Callable[[], str], version: int) -> None:
    client_id = name()
    first = Paho(broker, client_id, version)
    ended: queue.Queue[object] = queue.Queue()
    first.client.on_disconnect = lambda *arguments: ended.put(arguments[3])
    first.client.reconnect_delay_set(30, 30)
    second = Paho(broker, client_id, version)
    reason = ended.get(timeout=DEADLINE_S)
    assert str(reason) == ("Session taken over" if version == 5 else "Unspecified error")
    first.close()
    second.close()
