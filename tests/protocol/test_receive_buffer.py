"""What is kept of packets that are not whole: counted over all connections, and given back whatever ends it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import MAX_CONNECT_BYTES, ConnectionLimits
from broker.protocol.receive_buffer import CHUNK_OVERHEAD_BYTES, ReceiveBuffers
from broker.wire.connack import Connack
from broker.wire.connect import Connect, Will
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable

V3_1_1, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5
WITHOUT_REASONS = {"request_problem_information": 0}
LARGE = Publish("a", b"x" * 100_000).encode(V5)


def opened(shared: ReceiveBuffers) -> ServerConnection:
    return ServerConnection(ConnectionLimits(), KnownTopics(), shared, now=0)


def connected(shared: ReceiveBuffers) -> ServerConnection:
    connection = opened(shared)
    connection.receive_data(Connect(V5, "one", properties=WITHOUT_REASONS).encode(V5), now=0)
    connection.accept(Connack(), 0)
    connection.output.clear()
    return connection


def complete(connection: ServerConnection) -> None:
    assert connection.receive_data(LARGE[50_000:], now=0) == [Publish("a", b"x" * 100_000)]


@pytest.mark.parametrize(
    "end",
    [
        complete,
        ServerConnection.forget_unread,
        ServerConnection.time_out,
        lambda connection: connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN),
    ],
    ids=["complete", "lost", "timed out", "disconnected"],
)
def test_what_is_kept_is_given_back(end: Callable[[ServerConnection], None]) -> None:
    shared = ReceiveBuffers()
    connection = connected(shared)
    for start in range(0, 50_000, 10_000):
        connection.receive_data(LARGE[start : start + 10_000], now=0)
    assert shared.used_bytes == 50_000 + 5 * CHUNK_OVERHEAD_BYTES
    end(connection)
    assert shared.used_bytes == 0
    assert not connection.has_unread


def test_the_connection_that_grows_past_the_bound_is_told_and_closed() -> None:
    shared = ReceiveBuffers(100_000)
    first, second, small = (connected(shared) for _ in range(3))
    first.receive_data(LARGE[:80_000], now=0)
    second.receive_data(LARGE[:20_000], now=0)
    second.receive_data(LARGE[20_000:40_000], now=0)
    assert second.output == [Disconnect(ReasonCode.QUOTA_EXCEEDED).encode(V5)]
    assert second.is_closed
    assert shared.refused == 1
    assert small.receive_data(LARGE[:2000], now=0) == []  # the last eighth is for those that keep little
    assert not small.is_closed
    assert first.receive_data(LARGE[80_000:], now=0) == [Publish("a", b"x" * 100_000)]
    small.forget_unread()
    assert shared.used_bytes == 0


def test_single_bytes_count_as_what_they_take() -> None:
    shared = ReceiveBuffers(100_000)
    connection = connected(shared)
    for byte in LARGE[:3000]:
        connection.receive_data(bytes([byte]), now=0)
    assert connection.close_reason is ReasonCode.QUOTA_EXCEEDED


def test_what_comes_behind_connect_counts() -> None:
    shared = ReceiveBuffers(50_000)
    connection = opened(shared)
    connect = Connect(V5, "one", properties=WITHOUT_REASONS)
    connection.receive_data(connect.encode(V5) + LARGE, now=0)
    assert connection.output == [Connack(False, ReasonCode.QUOTA_EXCEEDED).encode(V5)]
    assert connection.is_closed


@pytest.mark.parametrize("pieces", [(0, 100_000), (0, 1, 100_000), (0, 12, 20, 100_000)], ids=str)
def test_a_connect_too_large_is_refused_from_its_header(pieces: tuple[int, ...]) -> None:
    """Who names MQTT 5 with it is told; others would take a CONNACK of MQTT 5 for a broken packet."""
    for version, answer in ((V5, [Connack(False, ReasonCode.PACKET_TOO_LARGE).encode(V5)]), (V3_1_1, [])):
        connect = Connect(version, "one", will=Will("w", b"x" * 65_535), username="u" * 65_535)
        connect.password = b"p" * 65_535
        connect.client_id = "c" * 65_535
        data = connect.encode(version)
        assert len(data) > MAX_CONNECT_BYTES
        connection = opened(ReceiveBuffers())
        for start, end in pairwise(pieces):
            connection.receive_data(data[start:end], now=0)
        assert connection.is_closed
        assert connection.close_reason is ReasonCode.PACKET_TOO_LARGE
        assert connection.output == answer


def test_a_connect_with_the_largest_will_passes() -> None:
    connect = Connect(V5, "one", will=Will("w", b"x" * 65_535), username="u" * 65_535, password=b"p" * 65_535)
    assert opened(ReceiveBuffers()).receive_data(connect.encode(V5), now=0) == [connect]
