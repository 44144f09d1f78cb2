"""One connection's bytes are acted on a slice a loop turn, in order; nothing else waits for them, and none are lost."""

from __future__ import annotations

import pytest
from lone_server import LoneServer, turns

from broker.protocol.limits import SLICE_PACKETS, STEP_BYTES
from broker.wire.connect import Will
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish

V3_1_1 = ProtocolVersion.V3_1_1
COUNT = 6000
FLOOD = b"".join(Publish("t", b"%d" % number).encode(V3_1_1) for number in range(COUNT))
MOST = SLICE_PACKETS + STEP_BYTES // 6
MANY_TURNS = 100


async def test_a_flood_takes_many_turns_and_others_have_theirs() -> None:
    server = LoneServer()
    flooder, flooded = await server.connect("flooder")
    bystander, _ = await server.connect("bystander")
    flooder.data_received(FLOOD)
    assert 0 < len(server.committer.messages) <= MOST
    assert flooded.is_paused
    await turns()
    bystander.data_received(Publish("b", b"").encode(V3_1_1))
    assert "b" in [each.topic_name for each in server.committer.messages[: 3 * MOST]]
    await turns(MANY_TURNS)
    payloads = [int(each.payload) for each in server.committer.messages if each.topic_name == "t"]
    assert payloads == list(range(COUNT))
    assert not flooded.is_paused


async def test_nothing_goes_on_while_the_server_reads_from_nobody() -> None:
    server = LoneServer()
    flooder, flooded = await server.connect("flooder")
    flooder.data_received(FLOOD)
    server.set_reading(is_reading=False)
    before = len(server.committer.messages)
    await turns(MANY_TURNS)
    assert len(server.committer.messages) == before
    server.now += 1000
    server._sweep(flooder, server.now)
    server.set_reading(is_reading=True)
    server._sweep(flooder, server.now)  # that it was silent is not its fault
    await turns(MANY_TURNS)
    assert len(server.committer.messages) == COUNT
    assert not flooded.is_paused
    assert not flooded.is_closed


@pytest.mark.parametrize("is_reading", [True, False], ids=["reading", "congested"])
@pytest.mark.parametrize("end", [Disconnect().encode(V3_1_1), b""], ids=["DISCONNECT", "nothing"])
async def test_what_was_received_counts_though_the_socket_is_gone(end: bytes, is_reading: bool) -> None:
    """A client that sends, says DISCONNECT and closes: its messages and its DISCONNECT were received."""
    server = LoneServer()
    flooder, _ = await server.connect("flooder", will=Will("will", b"gone"))
    flooder.data_received(FLOOD + end)
    server.set_reading(is_reading=is_reading)
    flooder.connection_lost(None)
    await turns(MANY_TURNS)
    if not is_reading:
        assert len(server.committer.messages) <= MOST
        server.set_reading(is_reading=True)
        await turns(MANY_TURNS)
    topics = [each.topic_name for each in server.committer.messages]
    assert topics == ["t"] * COUNT + ["will"] * (end == b"")
    assert not server.connections
    assert server.broker.sessions.get("flooder") is None


async def test_a_session_taken_over_is_not_acted_for_any_more() -> None:
    server = LoneServer()
    flooder, _ = await server.connect("same")
    flooder.data_received(FLOOD)
    flooder.connection_lost(None)
    await server.connect("same")
    await turns(MANY_TURNS)
    assert len(server.committer.messages) < COUNT
    assert len(server.connections) == 1


async def test_closing_all_connections_ends_those_whose_socket_is_gone() -> None:
    server = LoneServer()
    flooder, _ = await server.connect("flooder", will=Will("will", b"gone"))
    flooder.data_received(FLOOD)
    flooder.connection_lost(None)
    server.stop_reading()
    await server.close_connections()
    assert not server.connections
    assert server.committer.messages[-1].topic_name == "will"


async def test_everything_received_is_charged_until_it_is_acted_on() -> None:
    server = LoneServer()
    flooder, _ = await server.connect("flooder")
    flooder.data_received(FLOOD)
    assert server.receive_buffers.used_bytes >= len(FLOOD)
    await turns(MANY_TURNS)
    assert server.receive_buffers.used_bytes == 0
