"""Topic names that a connection makes the broker remember are charged, bounded, and given back at its end."""

from __future__ import annotations

import pytest
from lone_server import MIB, LoneServer, lone_plan, turns

from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode

V3_1_1, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5


async def test_topics_are_remembered_while_there_is_room() -> None:
    server = LoneServer(lone_plan(names=MIB))
    names = server.broker.plan.names
    greedy, _ = await server.connect("greedy")
    for number in range(200):
        greedy.data_received(Publish(f"{number}/" + "x" * 60_000, b"").encode(V3_1_1))
    await turns(500)
    assert len(server.committer.messages) == 200
    assert 0 < names.used_bytes <= MIB // 8
    assert names.refused > 0
    small, _ = await server.connect("small")
    refused = names.refused
    small.data_received(Publish("a", b"").encode(V3_1_1))
    assert names.refused == refused
    for each in (greedy, small):
        each.connection_lost(None)
    assert names.used_bytes == 0


async def test_aliases_are_charged_and_refused_with_a_reason() -> None:
    server = LoneServer(lone_plan(names=MIB))
    names = server.broker.plan.names
    greedy, transport = await server.connect("greedy", V5)
    for number in range(1, TOPIC_ALIAS_MAXIMUM + 1):
        topic_name = f"{number}/" + "ω" * 30_000
        greedy.data_received(Publish(topic_name, b"", properties={"topic_alias": number}).encode(V5))
        await turns(3)
        assert names.used_bytes <= MIB // 8
    assert greedy.client.protocol.close_reason is ReasonCode.QUOTA_EXCEEDED
    assert transport.written[-1][2] == ReasonCode.QUOTA_EXCEEDED
    greedy.connection_lost(None)
    assert names.used_bytes == 0


@pytest.mark.parametrize("alias", [1, 10])
async def test_an_alias_that_changes_gives_its_name_back(alias: int) -> None:
    server = LoneServer(lone_plan(names=MIB))
    client, _ = await server.connect("client", V5)
    for number in range(100):
        topic_name = "a" if number % 2 else "x" * 40_000
        client.data_received(Publish(topic_name, b"", properties={"topic_alias": alias}).encode(V5))
        client.data_received(Publish("", b"again", properties={"topic_alias": alias}).encode(V5))
        await turns(3)
    assert len(server.committer.messages) == 200
    assert server.broker.plan.names.used_bytes < 50_000
