"""Debian's Redis fills up, one master of a cluster too: its history makes room, that of other masters stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
from broker_process import eventually
from raw import RawClient
from stored_messages import views

from store import schema
from store.memory import SHED_TO

if TYPE_CHECKING:
    from broker_process import BrokerProcess
    from redis_servers import RedisServer, Servers

    from store.query import Query

DEVICES = [f"d{n}" for n in range(12)]
MESSAGES = 120
SIZE = 3000
DEADLINE_S = 60.0


def _history_key(device: str) -> str:
    return schema.device(device, "history")


def _publish(publisher: RawClient) -> None:
    """Send MESSAGES for each device, and wait for all acknowledgements, some at a time: each makes a chunk."""
    topics = [f"devices/{device}/t" for device in DEVICES * 10]
    for _ in range(0, MESSAGES, 10):
        batch = [mqtt.publish(5, topic, b"x" * SIZE, qos=1, packet_id=n) for n, topic in enumerate(topics, 1)]
        publisher.send(b"".join(batch))
        for _ in batch:
            publisher.receive(mqtt.PUBACK, deadline_s=DEADLINE_S)


def _counts(query: Query) -> dict[str, int]:
    return {device: len(query.messages(device, limit=1000).rows) for device in DEVICES}


def _used(server: RedisServer) -> int:
    info = server.ask("INFO", "memory")
    return int(info["used_memory"]) - int(info["mem_not_counted_for_evict"])


def test_a_master_sheds_what_it_has_and_no_other(servers: Servers, topology_broker: BrokerProcess) -> None:
    with RawClient(topology_broker.host, topology_broker.port) as publisher, views(servers.url) as query:
        publisher.connect("publisher")
        _publish(publisher)
        eventually(lambda: query.fleet().messages == MESSAGES * len(DEVICES), "the views show all", DEADLINE_S)
        full = servers.server_of(_history_key("d0"))
        others = [device for device in DEVICES if servers.server_of(_history_key(device)) is not full]
        before = _counts(query)
        all_before = sum(before.values())
        log_bytes = MESSAGES * SIZE * len(DEVICES) if full is servers.server_of(schema.LOG) else 0
        limit = int((_used(full) - log_bytes) / 0.9)  # the log alone does not make enough room
        full.ask("CONFIG", "SET", "maxmemory", limit)

        def is_over() -> bool:
            """Whether there is room, and all that went has been told: until then more can go."""
            return _used(full) <= SHED_TO * limit and query.retention().messages == all_before - sum(
                _counts(query).values()
            )

        eventually(is_over, "there is room, and it is told what went", DEADLINE_S)
        after = _counts(query)
        assert 0 < after["d0"] < before["d0"]
        assert {device: after[device] for device in others} == {device: before[device] for device in others}
        assert query.readiness() == "ready"
        uses = {use.name: use for use in query.capacity().uses}
        assert uses["history"].count == sum(after.values())  # fewer than are sampled: each is counted
        publisher.publish("devices/d0/t", b"after", qos=1)
        eventually(lambda: query.messages("d0", limit=1).rows[0].payload == b"after", "it goes on", DEADLINE_S)


def test_over_its_limit_a_master_is_brought_below(servers: Servers, topology_broker: BrokerProcess) -> None:
    """All at once it may use less than it does: nothing is stored until history has made room."""
    with RawClient(topology_broker.host, topology_broker.port) as publisher, views(servers.url) as query:
        publisher.connect("publisher")
        _publish(publisher)
        eventually(lambda: query.fleet().messages == MESSAGES * len(DEVICES), "the views show all", DEADLINE_S)
        full = servers.server_of(schema.LOG)
        full.ask("CONFIG", "SET", "maxmemory", int(_used(full) * 0.95))
        _publish(publisher)
        eventually(lambda: query.fleet().messages == 2 * MESSAGES * len(DEVICES), "the views show all", DEADLINE_S)
        eventually(lambda: query.readiness() == "ready", "history has made room for what came last", DEADLINE_S)
