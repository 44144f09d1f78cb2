"""What sockets have not taken is bounded over all connections; who reads is never disconnected, however large the message."""

from __future__ import annotations

import pytest
from lone_server import MIB, LoneServer, RecordingTransport, lone_plan, turns

from broker.net.connection import TIGHT_BYTES, TRANSPORT_BYTES, Connection
from broker.net.send_queue import JOINED_BYTES, SendQueue
from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import ConnectionLimits
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.routing.subscription_tree import SubscriptionOptions
from broker.session.outgoing import APART_BYTES, OutgoingPublish, SplitPacket
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode
from store.model import Message

V3_1_1 = ProtocolVersion.V3_1_1
KIB = 1024


def message(payload: bytes, qos: int = 0, topic_name: str = "t") -> Message:
    return Message(topic_name, "publisher", 0, qos, payload)


class Subscribers:
    """Connections that are subscribed to `t`; their sockets take nothing until they are told to."""

    def __init__(self, server: LoneServer) -> None:
        self.server = server
        self.connections: list[Connection] = []
        self.transports: list[RecordingTransport] = []

    async def add(self, count: int, qos: int = 0) -> None:
        for _ in range(count):
            name = f"subscriber-{len(self.connections)}"
            connection, transport = await self.server.connect(name)
            transport.taken_bytes = 0
            session = self.server.broker.sessions.get(name)
            assert session is not None
            self.server.broker.tree.subscribe("t", session, SubscriptionOptions(qos))
            self.connections.append(connection)
            self.transports.append(transport)

    async def publish(self, *payloads: bytes, qos: int = 0) -> None:
        for payload in payloads:
            self.server.broker.deliver_here(message(payload, qos), self.server.now)
        await turns(20)

    async def read(self) -> None:
        """Let all sockets take all there is."""
        for _ in range(300):
            for each in self.transports:
                each.take(TRANSPORT_BYTES)
            await turns()

    def memory_bytes(self) -> int:
        """What the transports hold, as copies."""
        return sum(each.get_write_buffer_size() for each in self.transports)


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_large_message_to_many_disconnects_nobody(qos: int) -> None:
    server = LoneServer(lone_plan(send_buffers=8 * MIB, deliveries=25 * MIB))
    subscribers = Subscribers(server)
    await subscribers.add(100, qos)
    payload = bytes(2 * MIB - 100)
    await subscribers.publish(payload, qos=qos)
    server.send_buffers.measure(server.now)
    assert server.broker.plan.send_buffers.used_bytes < 4 * MIB
    await subscribers.read()
    server.now += 2
    server.send_buffers.measure(server.now)
    assert not any(each.is_aborted for each in subscribers.transports)
    for each in subscribers.transports:
        assert sum(map(len, each.written)) > len(payload)
        assert b"".join(each.written).endswith(payload)
    assert server.broker.plan.send_buffers.used_bytes == 0


async def test_those_that_read_nothing_are_bounded_together_and_the_largest_goes_first() -> None:
    server = LoneServer(lone_plan(send_buffers=MIB))
    subscribers = Subscribers(server)
    await subscribers.add(60)
    bystander, transport = await server.connect("bystander")
    for number in range(40):
        await subscribers.publish(b"%d" % number + bytes(1000))
        server.now += 0.01
    for number in range(200):
        some = subscribers.connections[number % 10].client
        some.send(bytes(3000))  # ten of them hold more
        await turns()
    account = server.broker.plan.send_buffers
    assert account.used_bytes > account.limit_bytes
    server.now += 2
    server.send_buffers.measure(server.now)
    assert account.used_bytes <= account.limit_bytes
    gone = [number for number, each in enumerate(subscribers.transports) if each.is_aborted]
    assert gone
    assert set(gone) <= set(range(10)) or set(gone) >= set(range(10))
    assert account.refused == len(gone) == server.broker.counters.slow_clients_dropped
    await turns(3)
    bystander.data_received(b"\xc0\x00")
    assert transport.written == [b"\xd0\x00"]


async def test_one_that_lags_takes_nothing_more_while_all_together_are_full() -> None:
    server = LoneServer(lone_plan(send_buffers=256 * KIB))
    subscribers = Subscribers(server)
    await subscribers.add(20)
    for _ in range(200):
        await subscribers.publish(bytes(1000))
    assert subscribers.memory_bytes() < 256 * KIB + 20 * (TIGHT_BYTES + 2 * KIB)
    assert server.broker.counters.messages_dropped > 0
    await subscribers.read()
    server.send_buffers.measure(server.now)
    assert all(each.is_writable for each in subscribers.connections)
    await subscribers.publish(bytes(100 * KIB))
    assert all(each.is_writable for each in subscribers.connections)


async def test_one_turn_writes_no_more_than_a_part_of_the_bound() -> None:
    server = LoneServer(lone_plan(send_buffers=256 * KIB))
    subscribers = Subscribers(server)
    await subscribers.add(100)
    server.broker.deliver_here(message(bytes(1500)), server.now)
    server.flush()
    assert 0 < subscribers.memory_bytes() <= 256 * KIB // 8 + 2 * KIB
    for each in subscribers.transports:
        each.taken_bytes = 0
    await turns(20)
    assert all(each.written for each in subscribers.transports)


async def test_a_queue_is_sent_before_the_connection_closes() -> None:
    server = LoneServer()
    subscribers = Subscribers(server)
    await subscribers.add(1)
    await subscribers.publish(bytes(600 * KIB))
    connection, transport = subscribers.connections[0], subscribers.transports[0]
    connection.client.close(ReasonCode.SERVER_SHUTTING_DOWN)
    assert not transport.is_closed
    await subscribers.read()
    assert transport.is_closed
    assert sum(map(len, transport.written)) > 600 * KIB


async def test_order_stays_when_a_queue_forms() -> None:
    server = LoneServer()
    subscribers = Subscribers(server)
    await subscribers.add(1)
    for number in range(100):
        await subscribers.publish(b"%5d" % number + bytes(number % 7 * 1500))
        if number % 10 == 9:
            subscribers.transports[0].take(40 * KIB)
    await subscribers.read()
    machine = ServerConnection(ConnectionLimits(), KnownTopics(), ReceiveBuffers(), now=0)
    machine.receive_data(Connect(V3_1_1, "reader").encode(), now=0)
    machine.accept(Connack(), 0)
    packets = machine.receive_data(b"".join(subscribers.transports[0].written), now=0)
    while machine.has_rest:
        packets += machine.resume(now=0)
    assert [int(each.payload[:5]) for each in packets if isinstance(each, Publish)] == list(range(100))


def test_a_large_payload_is_the_same_object_for_everybody() -> None:
    payload = bytes(APART_BYTES + 1)
    publish = OutgoingPublish(message(payload, 2), 0)
    for qos in (0, 1, 2):
        one = publish.encode(0, is_v5=qos == 1, is_retain=False, qos=qos, packet_id=7)
        assert isinstance(one, SplitPacket)
        assert one.payload.obj is payload
        version = ProtocolVersion.V5 if qos == 1 else V3_1_1
        plain = Publish("t", payload, qos, False, False, 7 if qos else 0).encode(version)
        assert one.head + bytes(one.payload) == plain
        assert len(one) == len(plain)


def test_a_queue_gives_back_what_was_put_in() -> None:
    pieces = [
        b"a" * 10,
        memoryview(b"b" * 100_000),
        b"c" * 70_000,
        *[b"%4d" % each for each in range(1000)],
        b"d" * 65_000,
    ]
    queue = SendQueue()
    queue.put(pieces)
    shared: dict[int, int] = {}
    queue.count_shared(shared)
    assert sum(shared.values()) == 100_000
    assert queue.own_bytes == queue.size_bytes - 100_000
    parts = []
    while queue.size_bytes:
        parts.append(queue.take(JOINED_BYTES))
        assert len(parts[-1]) <= JOINED_BYTES
    assert b"".join(parts) == b"".join(pieces)
    assert queue.own_bytes == 0
