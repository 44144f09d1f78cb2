"""What holds through each door: MQTT over TCP, TLS, WebSocket and WebSocket over TLS; with clients that others wrote."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from amqtt.adapters import StreamWriterAdapter
from amqtt.client import MQTTClient
from network_client import DEADLINE_S, DOORS, NetworkClient
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.broker import mqtt_bytes as mqtt
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from certificates import Authority, Certificate

    from tests.broker.broker_process import BrokerProcess

each_door = pytest.mark.parametrize("door", DOORS)
SHUTTING_DOWN = b"\xe0\x01\x8b"


def descriptors(broker: BrokerProcess) -> int:
    return len(list(Path(f"/proc/{broker.pid}/fd").iterdir()))


@pytest.fixture
def paho_client(authority: Authority) -> Iterator[Callable[..., paho.Client]]:
    clients: list[paho.Client] = []

    def connected(broker: BrokerProcess, door: str, version: int, client_id: str) -> paho.Client:
        transport = "websockets" if door in {"ws", "wss"} else "tcp"
        protocol = MQTTProtocolVersion(version)
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol, transport=transport)
        if door in {"tls", "wss"}:
            client.tls_set_context(authority.client_context())
        answers: queue.Queue[object] = queue.Queue()
        client.on_connect = lambda *arguments: answers.put(arguments[3])
        client.connect(broker.host, broker.port)
        client.loop_start()
        clients.append(client)
        assert answers.get(timeout=DEADLINE_S) == 0
        return client

    yield connected
    for client in clients:
        client.disconnect()
        client.loop_stop()


@each_door
@pytest.mark.parametrize("version", [3, 4, 5], ids=["3.1", "3.1.1", "5"])
def test_paho_publishes_and_receives(
    doors: BrokerProcess, paho_client: Callable[..., paho.Client], door: str, version: int
) -> None:
    topic = f"paho/{door}/{version}"
    client = paho_client(doors, door, version, f"paho-{door}-{version}")
    received: queue.Queue[paho.MQTTMessage] = queue.Queue()
    subscribed: queue.Queue[object] = queue.Queue()
    client.on_message = lambda _client, _data, message: received.put(message)
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.subscribe(f"{topic}/#", 2)
    subscribed.get(timeout=DEADLINE_S)
    payloads = [bytes([qos]) * size for size in (1, 100, 70_000, 200_000) for qos in (0, 1, 2)]
    for payload in payloads:
        client.publish(f"{topic}/{payload[0]}", payload, payload[0]).wait_for_publish(DEADLINE_S)
    messages = [received.get(timeout=DEADLINE_S) for _ in payloads]
    for qos in (0, 1, 2):  # order holds within a topic
        of_qos = [each.payload for each in messages if each.topic == f"{topic}/{qos}"]
        assert of_qos == [payload for payload in payloads if payload[0] == qos]


@pytest.mark.parametrize("scheme", ["mqtt", "ws", "mqtts", "wss"])
async def test_amqtts_client_publishes_and_receives(doors: BrokerProcess, authority: Authority, scheme: str) -> None:
    client = MQTTClient(client_id=f"amqtt-{scheme}", config={"auto_reconnect": False})
    await client.connect(f"{scheme}://{doors.host}:{doors.port}/", cafile=str(authority.own.certificate))
    await client.subscribe([(f"amqtt/{scheme}", 2)])
    for qos in (0, 1, 2):
        await client.publish(f"amqtt/{scheme}", b"%d" % qos, qos=qos)
        message = await asyncio.wait_for(client.deliver_message(), DEADLINE_S)
        assert message is not None
        assert bytes(message.data) == b"%d" % qos
    await client.disconnect()
    await close_stream(client)


async def close_stream(client: MQTTClient) -> None:
    """Close the socket that amqtt's client leaves open where the broker was faster to close: a ResourceWarning."""
    assert client._handler is not None
    writer = client._handler.writer
    if isinstance(writer, StreamWriterAdapter):
        writer._writer.transport.abort()
        with contextlib.suppress(OSError):  # how the stream ended before
            await writer._writer.wait_closed()


def test_mosquitto_publishes_over_tls_with_its_certificate(
    doors: BrokerProcess, authority: Authority, client_certificate: Certificate
) -> None:
    address = ["-h", doors.host, "-p", str(doors.port), "-t", "mosquitto", "-m", "x", "-q", "1"]
    files = ["--cafile", authority.own.certificate, "--cert", client_certificate.certificate]
    command = ["mosquitto_pub", *address, *files, "--key", client_certificate.key]
    subprocess.run(command, check=True, timeout=DEADLINE_S)


def test_every_door_is_drained(start: Callable[..., BrokerProcess], authority: Authority) -> None:
    """MQTT's DISCONNECT comes first, then, on a WebSocket, its Close frame."""
    broker = start()
    clients = [NetworkClient(broker, door, authority.client_context()) for door in DOORS]
    for number, client in enumerate(clients):
        client.send(mqtt.connect(5, f"drained-{number}", props=[(mqtt.REQUEST_PROBLEM_INFORMATION, 0)]))
        assert client.receive()[0] >> 4 == mqtt.CONNACK
    assert broker.terminate() == 0
    endings: list[object] = []
    for client in clients:
        with client:
            assert client.receive() == SHUTTING_DOWN
            with pytest.raises((EOFError, ConnectionClosed)) as ended:
                client.receive()
            close = ended.value.rcvd if isinstance(ended.value, ConnectionClosed) else None
            endings.append(None if close is None else close.code)
    assert endings == [None, None, 1001, 1001]
    assert "Traceback" not in broker.log


def test_max_connections_counts_every_door(start: Callable[..., BrokerProcess], authority: Authority) -> None:
    broker = start(MAX_CONNECTIONS="4")
    trusted = authority.client_context()
    clients = [NetworkClient(broker, door, trusted) for door in DOORS]
    for door in DOORS:
        with pytest.raises((OSError, EOFError, WebSocketException)):
            connect_through(broker, door, trusted)
    for client in clients:
        with client:
            client.send(mqtt.connect(4, f"held-{id(client)}"))
            assert client.receive()[0] >> 4 == mqtt.CONNACK


def connect_through(broker: BrokerProcess, door: str, trusted: ssl.SSLContext) -> None:
    with NetworkClient(broker, door, trusted) as client:
        client.send(mqtt.connect(4, "fifth"))
        client.receive()


@pytest.mark.parametrize("door", ["tls", "wss"])
def test_a_subscriber_that_never_reads_is_dropped(
    start: Callable[..., BrokerProcess], authority: Authority, door: str
) -> None:
    """Back-pressure passes through TLS and frames: the broker notices the full buffer and stays small."""
    broker = start(SEND_BUFFER_BYTES="65536", SEND_TIMEOUT_S="1")
    trusted = authority.client_context()
    with NetworkClient(broker, "tcp", trusted) as publisher:
        publisher.send(mqtt.connect(4, "publisher"))
        publisher.receive()
        before = descriptors(broker)
        with NetworkClient(broker, door, trusted, receive_buffer_bytes=4096) as frozen:
            frozen.send(mqtt.connect(4, "frozen") + mqtt.subscribe(4, 1, [("slow", 0)]))
            assert [frozen.receive()[0] >> 4 for _ in range(2)] == [mqtt.CONNACK, mqtt.SUBACK]
            memory = resident_bytes(broker)
            for packet_id in range(1, 1501):  # 12 MB, far more than sockets and the library's queue hold
                publisher.send(mqtt.publish(4, "slow", b"x" * 8000, qos=1, packet_id=packet_id))
                assert publisher.receive()[0] >> 4 == mqtt.PUBACK
            eventually(lambda: descriptors(broker) <= before, "the subscriber is dropped")
            assert resident_bytes(broker) - memory < 16_000_000


def resident_bytes(broker: BrokerProcess) -> int:
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * 4096
