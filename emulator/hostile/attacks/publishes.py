"""Messages: new devices, long topics, heavy properties, tiny packets, payloads that are hard to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile.packets import V5, publish, subscribe, user_property
from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.hostile.attack import Attack

LARGE_BYTES = 60_000
HEAVY_BYTES = 1_900_000
READ_BYTES = 256 * 1024
PACKET_IDS = 60_000


def new_devices(attack: Attack) -> None:
    """100,000 publishes, each to a new device's topic."""
    each = attack.count(25_000)
    for client in range(4):
        link = attack.client(b"hostile-devices-%d" % client)
        link.send_all(_reading(client * each + n, n) for n in range(each))
    attack.settle(acknowledgements=4 * each)


def _reading(device: int, number: int) -> bytes:
    topic = b"devices/hostile-%d/telemetry" % device
    return publish(topic, b'{"temperature":21.5,"seq":1}', qos=1, packet_id=number % PACKET_IDS + 1)


def large_topics(attack: Attack) -> None:
    """4,000 publishes with distinct topics of 60 KB."""
    for qos in (0, 1):
        link = attack.client(b"hostile-topics-%d" % qos)
        link.send_all(_large_topic(qos, n) for n in range(attack.count(2000)))
    attack.settle()


def _large_topic(qos: int, number: int) -> bytes:
    topic = b"devices/hostile/%d/%d/" % (qos, number)
    return publish(topic.ljust(LARGE_BYTES, b"x"), b"1", qos=qos, packet_id=number + 1)


def large_device_names(attack: Attack) -> None:
    """Devices with names of 60 KB."""
    link = attack.client(b"hostile-names")
    names = (b"%d-" % n for n in range(attack.count(1000)))
    link.send_all(publish(b"devices/" + name.ljust(LARGE_BYTES, b"n") + b"/t", b"1") for name in names)
    attack.settle()


def user_properties(attack: Attack) -> None:
    """Packets of 2 MB that are user properties of one byte each, with a subscriber who gets them."""
    subscriber = attack.client(b"hostile-properties-reader", version=V5)
    subscriber.send(subscribe(1, [b"hostile/properties"], version=V5))
    attack.settle(0.5)
    properties = user_property(b"a", b"b") * (HEAVY_BYTES // 7)
    heavy = publish(b"hostile/properties", qos=1, packet_id=1, version=V5, properties=properties)
    clients = attack.count(5)
    for client in range(clients):
        link = attack.client(b"hostile-properties-%d" % client, version=V5)
        link.send(*[heavy] * 4)
    attack.settle(acknowledgements=4 * clients)


def tiny_packets(attack: Attack) -> None:
    """QoS 0 publishes of 5 bytes, 52,000 in each read, from 20 connections."""
    block = publish(b"a") * (READ_BYTES // 5)
    for client in range(20):
        attack.client(b"hostile-tiny-%d" % client).send_all(block for _ in range(attack.count(4)))
    attack.settle()


def large_aliases(attack: Attack) -> None:
    """Topic aliases for topics of 60 KB on 200 connections, then used."""
    for client in range(attack.count(200)):
        link = attack.client(b"hostile-aliases-%d" % client, version=V5)
        link.send_all(_aliased(client, alias) for alias in range(1, 11))
        link.send(*(publish(b"", version=V5, properties=_alias(alias)) for alias in range(1, 11)))
    attack.settle()


def _aliased(client: int, alias: int) -> bytes:
    topic = b"hostile/%d/%d/" % (client, alias)
    return publish(topic.ljust(LARGE_BYTES, b"x"), version=V5, properties=_alias(alias))


def _alias(alias: int) -> bytes:
    return b"\x23" + alias.to_bytes(2, "big")


def json_fields(attack: Attack) -> None:
    """JSON of 1.9 MB: objects of distinct fields, arrays in arrays, numbers of a million digits."""
    link = attack.client(b"hostile-json")
    link.send_all(_heavy_json(attack.count(20)))
    attack.settle()


def _heavy_json(count: int) -> Iterator[bytes]:
    for number in range(count):
        fields = b",".join(b'"f%d-%d":1' % (number, field) for field in range(HEAVY_BYTES // 18))
        kinds = (
            b"{" + fields + b"}",
            b"[" * HEAVY_BYTES,
            b'{"a":' * (HEAVY_BYTES // 5),
            b'{"n":' + b"9" * 1_000_000 + b"}",
        )
        payload = kinds[number % len(kinds)]
        yield publish(b"devices/hostile-json/telemetry", payload, qos=1, packet_id=number + 1)


SCENARIOS = (
    Scenario("devices-new", "100,000 publishes, each to a new device's topic", "devices", new_devices),
    Scenario("devices-large-names", "1,000 devices with names of 60 KB", "bytes of a device", large_device_names),
    Scenario("topics-large", "4,000 publishes with distinct topics of 60 KB", "bytes of topics", large_topics),
    Scenario("user-properties", "20 publishes with 2 MB of user properties", "work of a packet", user_properties),
    Scenario("tiny-packets", "4 million publishes of 5 bytes, 256 KB at once", "work of a read", tiny_packets),
    Scenario("aliases-large", "2,000 topic aliases for topics of 60 KB", "bytes of aliases", large_aliases),
    Scenario("json-heavy", "20 payloads of 1.9 MB that are hard JSON", "work of a projection", json_fields),
)
