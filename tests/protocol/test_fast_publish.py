"""The hot path of reading PUBLISH against the plain one: same packets, same end, whatever the bytes and the cuts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import connection as connection_module
from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics, read_publishes
from broker.protocol.limits import ConnectionLimits
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.ping import Pingreq
from broker.wire.puback import Puback, Pubrel
from broker.wire.publish import Publish

VERSIONS = st.sampled_from(list(ProtocolVersion))
TOPICS = st.sampled_from(["a", "devices/one/telemetry", "ä/ö", "$SYS/no", "a/" * 70])
PACKET_IDS = st.integers(1, 65_535)


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    qos = draw(st.integers(0, 2))
    properties = draw(st.sampled_from([{}, {"content_type": "x"}, {"topic_alias": 3}]))
    payload = draw(st.one_of(st.binary(max_size=40), st.just(b"x" * 200), st.just(b"y" * 20_000)))
    is_dup = qos > 0 and draw(st.booleans())
    return Publish(
        draw(TOPICS), payload, qos, draw(st.booleans()), is_dup, draw(PACKET_IDS) if qos else 0, dict(properties)
    )


PACKETS = st.one_of(publishes(), PACKET_IDS.map(Puback), PACKET_IDS.map(Pubrel), st.just(Pingreq()))


def connected(version: ProtocolVersion, *, receive_maximum: int = 1000) -> ServerConnection:
    machine = ServerConnection(
        ConnectionLimits(receive_maximum=receive_maximum), KnownTopics(), ReceiveBuffers(), now=0
    )
    machine.receive_data(Connect(version, "one").encode(version), now=0)
    machine.accept(Connack(), 0)
    machine.resume(0)
    machine.output.clear()
    return machine


def outcome(machine: ServerConnection, pieces: list[bytes]) -> tuple[object, ...]:
    packets = []
    for piece in pieces:
        packets += machine.receive_data(piece, now=1)
        while machine.has_rest:
            packets += machine.resume(now=1)
    return packets, machine.is_closed, machine.close_reason, machine.output


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    bounds = [0, *sorted(position % (len(data) + 1) for position in positions), len(data)]
    return [data[low:high] for low, high in pairwise(bounds)]


def compare(version: ProtocolVersion, pieces: list[bytes], receive_maximum: int) -> None:
    fast = outcome(connected(version, receive_maximum=receive_maximum), pieces)
    hot_path = connection_module.read_publishes
    connection_module.read_publishes = lambda _buffer, position, *_args, **_kwargs: position
    try:
        plain = outcome(connected(version, receive_maximum=receive_maximum), pieces)
    finally:
        connection_module.read_publishes = hot_path
    assert fast == plain


@settings(max_examples=300, deadline=None)
@given(VERSIONS, st.lists(PACKETS, max_size=12), st.lists(st.integers(0, 100_000), max_size=4), st.integers(1, 12))
def test_packets_come_out_the_same(
    version: ProtocolVersion, packets: list[Publish], cuts: list[int], maximum: int
) -> None:
    data = b"".join(packet.encode(version) for packet in packets)
    compare(version, cut(data, cuts), maximum)


@settings(max_examples=500, deadline=None)
@given(VERSIONS, st.lists(PACKETS, min_size=1, max_size=6), st.data())
def test_damaged_packets_end_the_same(version: ProtocolVersion, packets: list[Publish], data: st.DataObject) -> None:
    damaged = bytearray(b"".join(packet.encode(version) for packet in packets))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    compare(version, cut(bytes(damaged), data.draw(st.lists(st.integers(0, 100_000), max_size=3))), 1000)


def test_the_hot_path_is_taken() -> None:
    """Without this, the comparison above could pass because both sides are the plain path."""
    known_topics = KnownTopics()
    known_topics.admit("a")
    data = Publish("a", b"x", 1, False, False, 7).encode(ProtocolVersion.V3_1_1) * 3
    packets: list[object] = []
    assert read_publishes(data, 0, len(data), packets, known_topics, 1000, is_v5=False) == len(data)
    assert packets == [Publish("a", b"x", 1, False, False, 7)] * 3


def test_the_hot_path_stops_before_what_it_does_not_know() -> None:
    packets: list[object] = []
    data = Publish("a", b"x").encode(ProtocolVersion.V3_1_1)
    assert read_publishes(data, 0, len(data), packets, KnownTopics(), 1000, is_v5=False) == 0
    assert packets == []


def test_known_topics_are_bounded_and_leave_out_dollar_topics() -> None:
    known_topics = KnownTopics()
    known_topics.admit("$SYS/x")
    assert not known_topics.entries
    for number in range(60_000):
        known_topics.admit(str(number))
    assert 0 < len(known_topics.entries) <= 50_000
