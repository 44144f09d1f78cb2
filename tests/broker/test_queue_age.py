"""No message waits for a session longer than QUEUE_AGE_S, and none that does takes room from a newer one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
import redis
from broker_process import eventually

from store import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess
    from raw import RawClient

pytestmark = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
OLD_S = 3.2  # more than QUEUE_AGE_S=3, which what has to arrive is not as old as


def lasting(version: int) -> dict[str, Any]:
    return {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if version == 5 else []}


def subscribed_and_away(client: Callable[..., RawClient], process: BrokerProcess, version: int) -> None:
    away = client("lasting", at=process, **lasting(version))
    away.subscribe(("t/#", 1))
    away.disconnect()


def payloads_up_to(subscriber: RawClient, publisher: RawClient, topic: str) -> list[bytes]:
    """Return what comes before a last message, which is published now."""
    publisher.publish(topic, b"last", qos=1)
    return [each.payload for each in subscriber.receive_up_to(topic)]


def dropped(process: BrokerProcess) -> int:
    """Return what the broker's heartbeat says of dropped messages."""
    with redis.Redis.from_url(process.store_url) as client:
        (node,) = client.zrange(schema.NODES, 0, -1)
        return int(client.hget(schema.node_info(node.decode()), "messages_dropped") or 0)


def is_queue_empty(process: BrokerProcess) -> bool:
    """Whether the store holds no entry of the session, and counts no bytes."""
    with redis.Redis.from_url(process.store_url) as client:
        return not client.xlen(schema.queue("lasting")) and not int(
            client.hget(schema.session("lasting"), "queued_bytes") or 0
        )


def test_what_is_too_old_is_not_sent_but_counted(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    process = start_broker(QUEUE_AGE_S="3")
    subscribed_and_away(client, process, version)
    publisher = client("publisher", at=process)
    for _ in range(3):
        publisher.publish("t/a", b"old", qos=1)
    publisher.expect_nothing(OLD_S)
    publisher.publish("t/a", b"new", qos=1)
    back = client("lasting", at=process, **lasting(version))
    assert payloads_up_to(back, publisher, "t/last") == [b"new"]
    eventually(lambda: dropped(process) == 3, "what was too old is counted")
    eventually(lambda: is_queue_empty(process), "what was acknowledged or dropped is gone")


@pytest.mark.parametrize("bound", [{"QUEUE_MESSAGES": "5"}, {"QUEUE_BYTES": "6000"}])
def test_what_is_too_old_makes_room_in_a_full_queue(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int, bound: dict[str, str]
) -> None:
    process = start_broker(QUEUE_AGE_S="3", **bound)
    subscribed_and_away(client, process, version)
    publisher = client("publisher", at=process)
    for _ in range(5):
        publisher.publish("t/a", b"old" + b"." * 1000, qos=1)
    publisher.expect_nothing(OLD_S)
    for number in range(7):
        publisher.publish("t/a", b"new%d" % number + b"." * 1000, qos=1)
    back = client("lasting", at=process, **lasting(version))
    received = [back.receive_publish().payload[:4] for _ in range(5)]
    assert received == [b"new%d" % number for number in range(5)]  # what overflows is the newest
    eventually(lambda: dropped(process) == 5 + 2, "each is counted once")
    eventually(lambda: is_queue_empty(process), "what was acknowledged or dropped is gone")


def test_what_was_sent_stays_until_it_is_acknowledged(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    """[v3.1.1 MQTT-4.4.0-1], [v5 MQTT-4.4.0-1]: however old, and though its room is needed."""
    process = start_broker(QUEUE_AGE_S="3", QUEUE_MESSAGES="2")
    first, publisher = client("lasting", at=process, **lasting(version)), client("publisher", at=process)
    first.subscribe(("t/#", 1))
    for payload in (b"1", b"2"):
        publisher.publish("t/a", payload, qos=1)
    sent = [first.receive_publish(acknowledge=False) for _ in range(2)]
    first.close()
    publisher.expect_nothing(OLD_S)
    publisher.publish("t/a", b"no room", qos=1)
    back = client("lasting", at=process, **lasting(version))
    again = [back.receive_publish() for _ in range(2)]
    assert [(each.payload, each.packet_id) for each in again] == [(each.payload, each.packet_id) for each in sent]
    eventually(lambda: is_queue_empty(process), "the acknowledgements reach the store")
    assert payloads_up_to(back, publisher, "t/last") == []


def test_a_retained_message_is_as_old_as_its_place_in_the_queue(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    process = start_broker(QUEUE_AGE_S="3")
    publisher = client("publisher", at=process)
    publisher.publish("t/a", b"kept", qos=1, retain=True)
    publisher.expect_nothing(OLD_S)
    subscriber = client("lasting", at=process, **lasting(version))
    subscriber.subscribe(("t/#", 1))
    assert subscriber.receive_publish().payload == b"kept"


def test_the_queue_of_a_connection_has_the_same_bound(
    start_broker: Callable[..., BrokerProcess], client: Callable[..., RawClient], version: int
) -> None:
    process = start_broker(QUEUE_AGE_S="3", SEND_WINDOW="1", QUEUE_MESSAGES="2")
    slow, publisher = client("slow", at=process), client("publisher", at=process)
    slow.subscribe(("t/#", 1))
    for payload in (b"in flight", b"old", b"old"):
        publisher.publish("t/a", payload, qos=1)
    first = slow.receive_publish(acknowledge=False)
    publisher.expect_nothing(OLD_S)
    publisher.publish("t/a", b"new", qos=1)
    slow.acknowledge(first)
    assert slow.receive_publish().payload == b"new"
    eventually(lambda: dropped(process) == 2, "what was too old is counted")
