"""A client of which much is not stored yet is not read until half of it is; nobody else waits for that."""

from __future__ import annotations

from lone_server import LoneServer, SlowCommitter, turns

from broker.net.connection import COUNTED_BYTES, UNSTORED_BYTES
from broker.protocol.limits import SLICE_PACKETS, STEP_BYTES
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish

V3_1_1 = ProtocolVersion.V3_1_1
TINY = Publish("t", b"").encode(V3_1_1)
MESSAGE_BYTES = 300
SLICE = (SLICE_PACKETS + STEP_BYTES // len(TINY)) * MESSAGE_BYTES
MOST = (UNSTORED_BYTES + SLICE) // MESSAGE_BYTES + 1


async def test_a_flooder_waits_for_the_store_and_nobody_else_does() -> None:
    committer = SlowCommitter()
    server = LoneServer(committer=committer)
    flooder, flooded = await server.connect("flooder")
    bystander, watched = await server.connect("bystander")
    count = 3 * MOST
    flooder.data_received(TINY * count)
    await turns(200)
    waiting = len(committer.messages)
    assert MOST // 2 < waiting <= MOST
    assert flooded.is_paused
    assert not watched.is_paused
    bystander.data_received(TINY)
    assert len(committer.messages) == waiting + 1
    server.now += 1000
    server._sweep(flooder, server.now)
    assert not flooded.is_closed  # that it is silent is not its fault
    committer.store(len(committer.readers) // 3)
    await turns(200)
    assert len(committer.messages) == waiting + 1  # not before half is stored
    for _ in range(20):
        committer.store()
        await turns(200)
        assert committer.backlog_bytes <= (MOST + 1) * MESSAGE_BYTES + COUNTED_BYTES
    assert len(committer.messages) == count + 1
    committer.store()
    assert not flooded.is_paused


async def test_one_packet_may_be_larger() -> None:
    committer = SlowCommitter()
    server = LoneServer(committer=committer, receive_buffer_bytes=2 * UNSTORED_BYTES)
    client, transport = await server.connect("client")
    large = Publish("t", bytes(UNSTORED_BYTES + 1000)).encode(V3_1_1)
    for start in range(0, len(large), 16_000):
        client.data_received(large[start : start + 16_000])
        await turns(2)
    assert len(committer.messages) == 1
    assert transport.is_paused
    committer.store()
    await turns(2)
    assert not transport.is_paused


async def test_one_that_waits_may_leave() -> None:
    committer = SlowCommitter()
    server = LoneServer(committer=committer)
    flooder, _ = await server.connect("flooder")
    flooder.data_received(TINY * MOST * 2)
    await turns(200)
    flooder.connection_lost(None)
    for _ in range(10):
        committer.store()
        await turns(200)
    assert len(committer.messages) == MOST * 2
    assert not server.connections
