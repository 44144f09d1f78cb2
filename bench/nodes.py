"""`python -m bench.nodes`: what a message costs between nodes, with 1, 2, 4 and 8 of them.

One publisher at the first node sends QoS 1 messages; subscribers sit at one other node, or at all of them. Printed are
the bytes that the store received and sent, and the inbox entries it kept, for each message. They have to grow with the nodes
that want the message, not with the nodes that there are.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import paho.mqtt.client as paho
import redis

from bench.brokers import Node
from local.valkey import EmbeddedValkey
from store import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

NODES = (1, 2, 4, 8)
MESSAGES, PAYLOAD = 2_000, bytes(100)
WAIT_S = 60.0


class Traffic(NamedTuple):
    """What the store has counted so far."""

    received_bytes: int
    sent_bytes: int
    inbox_entries: int


def traffic(store: redis.Redis) -> Traffic:
    """Read the store's counters."""
    stats: dict[str, int] = store.info("stats")  # type: ignore[assignment]
    nodes = [each.decode() for each in store.zrange(schema.MEMBERS, 0, -1)]  # type: ignore[union-attr]
    entries = sum(int(store.xinfo_stream(schema.of_node("inbox", each))["entries-added"]) for each in nodes)  # type: ignore[index]
    return Traffic(stats["total_net_input_bytes"], stats["total_net_output_bytes"], entries)


def connected(port: int) -> paho.Client:
    """Return a client that runs in a thread of its own."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def subscribe(port: int, received: list[int], is_done: threading.Event, expected: int) -> paho.Client:
    """Subscribe, and set `is_done` when all subscribers together have `expected` messages."""
    is_subscribed = threading.Event()
    client = connected(port)

    def count(*_: object) -> None:
        received.append(1)
        if len(received) == expected:
            is_done.set()

    client.on_message = count
    client.on_subscribe = lambda *_: is_subscribed.set()
    client.subscribe("bench/nodes", 1)
    assert is_subscribed.wait(WAIT_S)
    return client


def measure(ports: Sequence[int], store: redis.Redis) -> Traffic:
    """Publish from the first port to a subscriber at each of the others (or at the first, where it is alone)."""
    publisher, *subscribers = ports
    received: list[int] = []
    is_done = threading.Event()
    wanted = subscribers or [publisher]
    clients = [subscribe(port, received, is_done, MESSAGES * len(wanted)) for port in wanted]
    clients.append(connected(publisher))
    before = traffic(store)
    for _ in range(MESSAGES):
        clients[-1].publish("bench/nodes", PAYLOAD, 1)
    assert is_done.wait(WAIT_S), f"{len(received)} of {MESSAGES * len(wanted)} messages arrived"
    after = traffic(store)
    for client in clients:
        client.disconnect()
        client.loop_stop()
    return Traffic(*(now - then for now, then in zip(after, before, strict=True)))


def row(count: int, wanting: str, cost: Traffic) -> str:
    """One line of the table: the cost of a message."""
    per_message = [f"{each / MESSAGES:>12,.2f}" for each in cost]
    return f"{count:>5}  {wanting:<22}{''.join(per_message)}"


def main() -> None:
    """Measure each number of nodes, with one that wants the messages and with all that do."""
    print(f"{'nodes':>5}  {'who wants it':<22}{'bytes in':>12}{'bytes out':>12}{'inbox':>12}   (store, per message)")
    for count in NODES:
        with tempfile.TemporaryDirectory() as folder:
            valkey = EmbeddedValkey(Path(folder) / "store")
            valkey.start()
            brokers = [Node(valkey.url) for _ in range(count)]
            for broker in brokers:
                broker.start()
            with redis.Redis.from_url(valkey.url) as store:
                ports = [each.port for each in brokers]
                print(row(count, "one other" if count > 1 else "itself", measure(ports[:2], store)), flush=True)
                if count > 2:
                    print(row(count, f"all {count - 1} others", measure(ports, store)), flush=True)
            for broker in brokers:
                broker.stop()
            valkey.stop()


if __name__ == "__main__":
    main()
