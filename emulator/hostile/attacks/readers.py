"""Subscribers that are slow, deaf, or very many; what is for them waits somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile.packets import PINGREQ, publish, subscribe
from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from emulator.hostile.attack import Attack

LARGE_BYTES = 1_000_000
READ_BYTES = 256 * 1024


def slow_qos0(attack: Attack) -> None:
    """20 subscribers that never read, 100 messages of 1 MB at QoS 0."""
    _never_read(attack, qos=0, subscribers=20)
    publisher = attack.client(b"hostile-slow-publisher")
    publisher.send_all(publish(b"hostile/slow", b"s" * LARGE_BYTES) for _ in range(attack.count(100)))
    attack.settle()


def slow_qos1(attack: Attack) -> None:
    """20 subscribers that never read, 100 messages of 1 MB at QoS 1 with distinct topics."""
    _never_read(attack, qos=1, subscribers=20)
    publisher = attack.client(b"hostile-slow-publisher")
    payload = b"s" * LARGE_BYTES
    publisher.send_all(
        publish(b"hostile/slow/%d" % n, payload, qos=1, packet_id=n + 1) for n in range(attack.count(100))
    )
    attack.settle()


def slow_topics(attack: Attack) -> None:
    """50 subscribers that never read, 2,000 messages with distinct topics of 30 KB at QoS 1."""
    _never_read(attack, qos=1, subscribers=50)
    publisher = attack.client(b"hostile-slow-publisher")
    topics = ((b"hostile/slow/%d/" % n).ljust(30_000, b"t") for n in range(attack.count(2000)))
    publisher.send_all(publish(topic, b"1", qos=1, packet_id=n + 1) for n, topic in enumerate(topics))
    attack.settle()


def _never_read(attack: Attack, *, qos: int, subscribers: int) -> None:
    for client in range(attack.count(subscribers)):
        link = attack.client(b"hostile-slow-%d" % client, small=True)
        link.send(subscribe(1, [b"hostile/slow/#"], qos=qos))
    attack.settle(0.5)
    for link in attack.open_links():
        link.ignore()


def unacknowledged(attack: Attack) -> None:
    """20 subscribers in persistent sessions that read and never acknowledge, QoS 1 and 2."""
    for client in range(attack.count(20)):
        link = attack.client(b"hostile-unacknowledged-%d" % client, is_persistent=True)
        link.send(subscribe(1, [b"hostile/unacknowledged"], qos=1 + client % 2))
    attack.settle(0.5)
    publisher = attack.client(b"hostile-unacknowledged-publisher")
    total = attack.count(2000)
    publisher.send_all(publish(b"hostile/unacknowledged", b"u" * 10_000, qos=1, packet_id=n + 1) for n in range(total))
    attack.settle()


def fan_out(attack: Attack) -> None:
    """1,000 subscribers of one topic, 500 messages of 200 bytes."""
    for client in range(attack.count(1000)):
        attack.client(b"hostile-fan-%d" % client).send(subscribe(1, [b"hostile/fan"], qos=client & 1))
    attack.settle(0.5)
    for link in attack.open_links():
        link.acknowledges = True
    publisher = attack.client(b"hostile-fan-publisher")
    publisher.send_all(publish(b"hostile/fan", b"f" * 200, qos=1, packet_id=n + 1) for n in range(attack.count(500)))
    attack.settle()


def fan_out_large(attack: Attack) -> None:
    """500 subscribers of one topic that do not read, 20 messages of 1 MB."""
    for client in range(attack.count(500)):
        link = attack.client(b"hostile-fan-%d" % client, small=True)
        link.send(subscribe(1, [b"hostile/fan"], qos=1))
    attack.settle(0.5)
    for link in attack.open_links():
        link.ignore()
    publisher = attack.client(b"hostile-fan-publisher")
    payload = b"f" * LARGE_BYTES
    publisher.send_all(publish(b"hostile/fan", payload, qos=1, packet_id=n + 1) for n in range(attack.count(20)))
    attack.settle()


def pings_unread(attack: Attack) -> None:
    """PINGREQ without end from 10 connections that never read the answers."""
    block = PINGREQ * (READ_BYTES // 2)
    for client in range(10):
        attack.client(b"hostile-pings-%d" % client, small=True)
    attack.settle(0.5)
    for link in attack.open_links():
        link.ignore()
        link.send_all(block for _ in range(attack.count(20)))
    attack.wait(10)


SCENARIOS = (
    Scenario("slow-readers-qos0", "20 readers that never read, 100 messages of 1 MB", "bytes to send", slow_qos0),
    Scenario("slow-readers-qos1", "the same at QoS 1 with distinct topics", "bytes to send", slow_qos1),
    Scenario("slow-readers-topics", "50 readers that never read, 2,000 topics of 30 KB", "bytes to send", slow_topics),
    Scenario("unacknowledged", "20 sessions that never acknowledge 2,000 messages", "bytes of queues", unacknowledged),
    Scenario("fan-out", "1,000 subscribers of one topic, 500 messages", "work of a message", fan_out),
    Scenario("fan-out-large", "500 readers that never read, 20 messages of 1 MB", "bytes to send", fan_out_large),
    Scenario("pings-unread", "26 million PINGREQ, answers never read", "bytes to send", pings_unread),
)
