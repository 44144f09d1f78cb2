"""Whatever arrives, in whatever pieces: a connection reads it to the same end, past no packet, and raises nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fast_publish import PACKETS, VERSIONS, connected, cut, outcome

from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import ConnectionLimits
from broker.protocol.receive_buffer import ReceiveBuffers
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.wire.publish import Publish

CUTS = st.lists(st.integers(0, 100_000), max_size=6)
FIRST_BYTES = st.sampled_from([0x10, 0x30, 0x32, 0x34, 0x3D, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0, 0xF0])
BODIES = st.binary(max_size=60)
FRAMED = st.builds(lambda first, body: bytes((first, len(body))) + body, FIRST_BYTES | st.integers(0, 255), BODIES)
STREAMS = st.lists(FRAMED | st.binary(max_size=20), max_size=6).map(b"".join)
V5_CONNECT = b"\0\4MQTT\5"


def opened() -> ServerConnection:
    return ServerConnection(ConnectionLimits(), KnownTopics(), ReceiveBuffers(), now=0)


@settings(max_examples=300, deadline=None)
@given(VERSIONS, STREAMS, CUTS)
def test_arbitrary_bytes_end_the_same_however_they_are_cut(
    version: ProtocolVersion, stream: bytes, cuts: list[int]
) -> None:
    whole = outcome(connected(version), [stream])
    assert outcome(connected(version), cut(stream, cuts)) == whole
    _, is_closed, close_reason, output = whole
    assert isinstance(is_closed, bool)
    assert close_reason is None or isinstance(close_reason, ReasonCode)
    assert isinstance(output, list)
    assert version is ProtocolVersion.V5 or all(answer == b"\xd0\0" for answer in output)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=20) | st.builds(lambda rest: V5_CONNECT + rest, BODIES), STREAMS, CUTS)
def test_arbitrary_openings_end_the_same_however_they_are_cut(body: bytes, behind: bytes, cuts: list[int]) -> None:
    """What is refused gets one CONNACK at most; what is not waits for the decision, with all that came behind it."""
    stream = bytes((0x10, len(body))) + body + behind
    machine = opened()
    packets, is_closed, _, output = whole = outcome(machine, [stream])
    assert outcome(opened(), cut(stream, cuts)) == whole
    assert is_closed or [type(packet) for packet in packets] == [Connect]
    assert len(output) <= 1
    if not is_closed:
        assert machine.has_unread == bool(behind)


@settings(max_examples=200, deadline=None)
@given(VERSIONS, st.lists(PACKETS, max_size=6), STREAMS)
def test_a_packet_does_not_depend_on_what_follows_it(
    version: ProtocolVersion, good: list[Publish], behind: bytes
) -> None:
    stream = b"".join(packet.encode(version) for packet in good)
    alone, *_ = outcome(connected(version), [stream])
    followed, *_ = outcome(connected(version), [stream + behind])
    assert followed[: len(alone)] == alone


@pytest.mark.parametrize("version", ProtocolVersion, ids=lambda version: version.name)
@settings(max_examples=100, deadline=None)
@given(behind=STREAMS)
def test_bad_bytes_never_touch_another_connection(version: ProtocolVersion, behind: bytes) -> None:
    """Connections share what they know of topics, and nothing else."""
    known_topics = KnownTopics()
    offender, bystander = (
        ServerConnection(ConnectionLimits(), known_topics, ReceiveBuffers(), now=0) for _ in range(2)
    )
    for machine in (offender, bystander):
        machine.receive_data(Connect(version, "one").encode(version), now=0)
        machine.accept(Connack(), 0)
        machine.output.clear()
    stream = b"\x30\x04\0\1a\0" + b"\xc0\0"
    expected = outcome(connected(version), [stream])
    offender.receive_data(behind, now=1)
    assert outcome(bystander, [stream]) == expected
