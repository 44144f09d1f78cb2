"""What sessions keep: retained messages, queues, wills, QoS 2 identifiers, their own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile.packets import LONGEST_TEXT_BYTES, publish, subscribe
from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from emulator.hostile.attack import Attack

HEAVY_BYTES = 1_900_000
WILL_TOPIC_BYTES, WILL_BYTES = 60_000, 65_000


def retained_large(attack: Attack) -> None:
    """144 retained messages of 1.9 MB."""
    link = attack.client(b"hostile-retained-large")
    attack.topics = [b"hostile/retained/%d" % n for n in range(attack.count(144))]
    payload = b"r" * HEAVY_BYTES
    link.send_all(
        publish(topic, payload, qos=1, packet_id=n + 1, is_retained=True) for n, topic in enumerate(attack.topics)
    )
    attack.settle()


def retained_many(attack: Attack) -> None:
    """50,000 small retained messages."""
    link = attack.client(b"hostile-retained-many")
    attack.topics = [b"hostile/retained/small/%d" % n for n in range(attack.count(50_000))]
    link.send_all(
        publish(topic, b"1", qos=1, packet_id=n + 1, is_retained=True) for n, topic in enumerate(attack.topics)
    )
    attack.settle()


def offline_queues(attack: Attack) -> None:
    """200 persistent sessions that are away, and messages of 2 MB for all of them."""
    for client in range(attack.count(200)):
        link = attack.client(b"hostile-offline-%d" % client, is_persistent=True)
        link.send(subscribe(1, [b"hostile/offline"], qos=1))
    attack.settle(0.5)
    for link in attack.open_links():
        link.close()
    publisher = attack.client(b"hostile-offline-publisher")
    payload = b"q" * HEAVY_BYTES
    publisher.send_all(publish(b"hostile/offline", payload, qos=1, packet_id=n + 1) for n in range(attack.count(30)))
    attack.settle()


def many_sessions(attack: Attack) -> None:
    """5,000 persistent sessions with a subscription each, left alone."""
    for client in range(attack.count(5000)):
        link = attack.client(b"hostile-session-%d" % client, is_persistent=True)
        link.send(subscribe(1, [b"hostile/session/%d" % client], qos=1))
        if client % 100 == 99:
            attack.settle(0.1)
            for each in attack.open_links():
                each.close()
    attack.settle()


def wills(attack: Attack) -> None:
    """1,000 connections with wills of 125 KB, then reset."""
    payload = b"w" * WILL_BYTES
    for client in range(attack.count(1000)):
        topic = (b"hostile/wills/%d/" % client).ljust(WILL_TOPIC_BYTES, b"w")
        attack.client(b"hostile-will-%d" % client, will=(topic, payload))
    attack.settle()
    for link in attack.open_links():
        link.reset()


def qos2_held(attack: Attack) -> None:
    """All 65,535 packet identifiers of 4 sessions in PUBLISH of QoS 2, none released."""
    total = attack.count(65_535)
    for client in range(4):
        link = attack.client(b"hostile-qos2-%d" % client, is_persistent=True)
        link.send_all(publish(b"hostile/qos2", b"2", qos=2, packet_id=n + 1) for n in range(total))
    attack.settle(acknowledgements=4 * total)


def long_client_ids(attack: Attack) -> None:
    """Client ids of 65,535 and of 256 bytes, in persistent sessions."""
    for client in range(attack.count(1000)):
        length = LONGEST_TEXT_BYTES if client & 1 else 256
        attack.client((b"hostile-%d-" % client).ljust(length, b"i"), is_persistent=True)
    attack.settle()


SCENARIOS = (
    Scenario("retained-large", "144 retained messages of 1.9 MB", "bytes of retained messages", retained_large),
    Scenario("retained-many", "50,000 small retained messages", "retained messages", retained_many),
    Scenario(
        "queues-offline", "30 messages of 1.9 MB for 200 sessions that are away", "bytes of queues", offline_queues
    ),
    Scenario("sessions-many", "5,000 persistent sessions left alone", "sessions", many_sessions),
    Scenario("wills-large", "1,000 connections with wills of 125 KB, then reset", "bytes of wills", wills),
    Scenario("qos2-held", "4 x 65,535 QoS 2 identifiers never released", "QoS 2 identifiers", qos2_held),
    Scenario("client-ids-long", "1,000 client ids of 256 and 65,535 bytes", "bytes of a client id", long_client_ids),
)
