"""A master dies, a replica takes over: the broker goes on by itself, and stores nothing twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
from broker_process import eventually
from raw import RawClient
from stored_messages import views

import settings
from store import schema
from store.connection import connect
from store.model import decode_frame

if TYPE_CHECKING:
    from broker_process import BrokerProcess
    from redis_servers import Servers

    from store.query import Query

FAILOVER_DEADLINE_S = 60.0
BATCH = 200


def _send(publisher: RawClient, first: int) -> None:
    """Send BATCH messages of QoS 2, all at once; each packet identifier is the message's number."""
    numbers = range(first, first + BATCH)
    publisher.send(b"".join(mqtt.publish(5, "devices/1/t", b"%d" % n, qos=2, packet_id=n) for n in numbers))


def _complete(publisher: RawClient, count: int) -> None:
    """Finish the handshakes of `count` messages."""
    for _ in range(count):
        packet = publisher.receive(mqtt.PUBREC, deadline_s=FAILOVER_DEADLINE_S)
        packet_id = mqtt.read_acknowledgement(5, packet).packet_id
        publisher.send(mqtt.acknowledgement(mqtt.PUBREL, packet_id))
    for _ in range(count):
        publisher.receive(mqtt.PUBCOMP, deadline_s=FAILOVER_DEADLINE_S)


def _stored(url: str) -> Counter[int]:
    with connect(settings.load({"REDIS_URL": url, "ALLOW_ANONYMOUS": "true"}, "tcp")) as client:
        entries = client.xrange(schema.LOG)
    return Counter(int(message.payload) for _, fields in entries for message in decode_frame(fields[b"f"]))


def _payloads(query: Query) -> list[bytes]:
    return [each.payload for each in query.messages("1", limit=1).rows]


def test_the_broker_and_the_dashboard_go_on_with_the_next_master(
    servers: Servers, topology_broker: BrokerProcess
) -> None:
    with RawClient(topology_broker.host, topology_broker.port) as publisher, views(servers.url) as query:
        publisher.connect("publisher")
        _send(publisher, 1)
        _complete(publisher, BATCH)
        eventually(lambda: _payloads(query) == [b"%d" % BATCH], "the dashboard shows what is there", 20)
        servers.await_replicated(schema.LOG)
        master = servers.server_of(schema.LOG)
        _send(publisher, 1 + BATCH)  # the dying master may take them along: replication is asynchronous
        master.kill()
        _send(publisher, 1 + 2 * BATCH)
        _complete(publisher, 2 * BATCH)
        _send(publisher, 1 + 3 * BATCH)
        _complete(publisher, BATCH)
        eventually(lambda: query.ping() and _payloads(query) == [b"%d" % (4 * BATCH)], "the dashboard goes on", 20)
    stored = _stored(servers.url)
    assert set(stored.values()) == {1}
    certain = {*range(1, 1 + BATCH), *range(1 + 2 * BATCH, 1 + 4 * BATCH)}
    assert certain - set(stored) == set()


def test_a_session_outlives_its_master(servers: Servers, topology_broker: BrokerProcess) -> None:
    lasting: mqtt.Properties = [(0x11, 3600)]
    with RawClient(topology_broker.host, topology_broker.port) as sleeper:
        sleeper.connect("sleeper", clean=False, props=lasting)
        sleeper.subscribe("devices/#")
    with RawClient(topology_broker.host, topology_broker.port) as publisher:
        publisher.connect("publisher")
        publisher.publish("devices/1/t", b"before", qos=1)
        servers.await_replicated(schema.LOG)
        servers.server_of(schema.LOG).kill()
        publisher.send(mqtt.publish(5, "devices/1/t", b"after", qos=1, packet_id=9))
        publisher.receive(mqtt.PUBACK, deadline_s=FAILOVER_DEADLINE_S)
    topology_broker.restart()
    with RawClient(topology_broker.host, topology_broker.port) as sleeper:
        assert sleeper.connect("sleeper", clean=False, props=lasting).is_session_present
        assert [sleeper.receive_publish().payload for _ in range(2)] == [b"before", b"after"]
