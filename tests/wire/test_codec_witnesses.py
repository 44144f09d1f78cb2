"""MQTT 3.1.1 packets as amqtt's own codec writes and reads them, MQTT 5 packets as paho writes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket
from hypothesis import given
from hypothesis import strategies as st
from packet_examples import EXAMPLES, V3_1_1, Example
from packet_reader import PacketReader
from packet_strategies import KINDS, few_examples, publishes

from broker.wire.codec import Packet, decode_packet
from broker.wire.connack import Connack
from broker.wire.connect import Connect, Will
from broker.wire.disconnect import Disconnect
from broker.wire.ping import Pingreq, Pingresp
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.unsuback import Unsuback
from broker.wire.unsubscribe import Unsubscribe


def amqtt_connect() -> ConnectPacket:
    header = ConnectVariableHeader(keep_alive=30)
    payload = ConnectPayload("dev", "w/t", b"bye", "user", "pass")
    packet = ConnectPacket(variable_header=header, payload=payload)
    packet.clean_session_flag = packet.username_flag = packet.password_flag = True
    packet.will_flag, packet.will_retain_flag, packet.will_qos = True, True, 1
    return packet


BUILT = [
    (amqtt_connect(), Connect(V3_1_1, "dev", True, 30, Will("w/t", b"bye", 1, True), "user", b"pass")),
    (ConnackPacket.build(1, 0), Connack(is_session_present=True)),
    (ConnackPacket.build(0, 4), Connack(reason_code=4)),
    (PublishPacket.build("a/é", b"hi", None, False, 0, True), Publish("a/é", b"hi", is_retain=True)),
    (PublishPacket.build("a", b"x" * 300, 77, True, 2, False), Publish("a", b"x" * 300, 2, is_dup=True, packet_id=77)),
    (PubackPacket.build(1), Puback(1)),
    (PubrecPacket.build(500), Pubrec(500)),
    (PubrelPacket.build(500), Pubrel(500)),
    (PubcompPacket.build(65_535), Pubcomp(65_535)),
    (SubscribePacket.build([("a/#", 1), ("+", 0)], 9), Subscribe(9, [Subscription("a/#", 1), Subscription("+")])),
    (SubackPacket.build(9, [1, 0x80]), Suback(9, [1, 0x80])),
    (UnsubscribePacket.build(["a/#", "+"], 10), Unsubscribe(10, ["a/#", "+"])),
    (UnsubackPacket.build(10), Unsuback(10)),
    (PingReqPacket(), Pingreq()),
    (PingRespPacket.build(), Pingresp()),
    (DisconnectPacket(), Disconnect()),
]


async def read_by_amqtt(encoded: bytes) -> Any:
    reader = BufferReader(encoded)
    fixed_header = await MQTTFixedHeader.from_stream(reader)
    assert fixed_header is not None
    return await packet_class(fixed_header).from_stream(reader, fixed_header)


@pytest.mark.parametrize(("theirs", "ours"), BUILT, ids=lambda packet: type(packet).__name__)
def test_amqtt_writes_the_same_bytes(theirs: Any, ours: Packet) -> None:
    encoded = theirs.to_bytes()
    assert ours.encode(V3_1_1) == encoded
    reader = PacketReader(1024)
    reader.feed(encoded)
    [(first_byte, body)] = list(reader)
    assert decode_packet(first_byte, body, V3_1_1) == ours


@pytest.mark.parametrize(
    "example",
    [each for each in EXAMPLES if each.version is V3_1_1],
    ids=lambda each: each.packet.packet_type.name,
)
async def test_amqtt_reads_every_example(example: Example) -> None:
    assert (await read_by_amqtt(example.encoded)).to_bytes() == example.encoded


@few_examples
@given(publishes(V3_1_1))
def test_amqtt_reads_every_publish(packet: Publish) -> None:
    theirs = asyncio.run(read_by_amqtt(packet.encode(V3_1_1)))
    assert (theirs.topic_name, bytes(theirs.data), theirs.qos) == (packet.topic_name, packet.payload, packet.qos)
    assert (theirs.retain_flag, theirs.dup_flag) == (packet.is_retain, packet.is_dup)
    assert (theirs.packet_id or 0) == packet.packet_id


@few_examples
@given(KINDS["subscribe"](V3_1_1) | KINDS["unsubscribe"](V3_1_1) | KINDS["suback"](V3_1_1))
def test_amqtt_reads_every_list(packet: Packet) -> None:
    encoded = packet.encode(V3_1_1)
    assert asyncio.run(read_by_amqtt(encoded)).to_bytes() == encoded


@few_examples
@given(st.data())
def test_amqtt_reads_every_connect(data: st.DataObject) -> None:
    packet = data.draw(KINDS["connect"](V3_1_1))
    assert isinstance(packet, Connect)
    theirs = asyncio.run(read_by_amqtt(packet.encode(V3_1_1)))
    assert theirs.clean_session_flag == packet.clean_start
    assert theirs.keep_alive == packet.keep_alive
    assert theirs.username == packet.username
    if packet.client_id:
        assert theirs.client_id == packet.client_id
    if packet.will is not None:
        assert (theirs.will_topic, theirs.will_message) == (packet.will.topic_name, packet.will.payload)
        assert (theirs.will_qos, theirs.will_retain_flag) == (packet.will.qos, packet.will.is_retain)
