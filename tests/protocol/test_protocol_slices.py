"""Of what one connection has sent, a slice is read at once: no more than a few hundred packets, in order, none lost."""

from __future__ import annotations

import pytest
from test_fast_publish import connected

from broker.protocol.connection import ServerConnection
from broker.protocol.fast_publish import KnownTopics
from broker.protocol.limits import (
    READ_AT_ONCE_BYTES,
    SLICE_BYTES,
    SLICE_PACKETS,
    STEP_BYTES,
    ConnectionLimits,
)
from broker.protocol.receive_buffer import CHUNK_OVERHEAD_BYTES, ReceiveBuffers
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.ping import Pingreq
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode
from broker.wire.subscribe import Subscribe, Subscription

V3_1_1, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5
TINY = Publish("a", b"").encode(V3_1_1)
MOST = SLICE_PACKETS + STEP_BYTES // len(TINY)


def with_account(limit_bytes: int) -> tuple[ServerConnection, ReceiveBuffers]:
    account = ReceiveBuffers(limit_bytes)
    machine = ServerConnection(ConnectionLimits(), KnownTopics(), account, now=0)
    machine.receive_data(Connect(V3_1_1, "one").encode(V3_1_1), now=0)
    machine.accept(Connack(), 60)
    machine.output.clear()
    return machine, account


@pytest.mark.parametrize("first", [b"", TINY], ids=["unknown topic", "known topic"])
def test_tiny_packets_are_not_decoded_all_at_once(first: bytes) -> None:
    machine = connected(V3_1_1)
    machine.receive_data(first, now=0)
    count = 256 * 1024 // len(TINY)
    slices = [len(machine.receive_data(TINY * count, now=0))]
    while machine.has_rest:
        slices.append(len(machine.resume(now=0)))
    assert sum(slices) == count
    assert max(slices) <= MOST
    assert len(slices) > 50


def test_a_slice_of_larger_packets_is_bounded_in_bytes() -> None:
    machine = connected(V3_1_1)
    packets = [Publish("a", bytes(1000), 1, False, False, number) for number in range(1, 100)]
    data = b"".join(each.encode(V3_1_1) for each in packets)
    read = machine.receive_data(data, now=0)
    assert len(read) <= SLICE_BYTES // 1000 + 1
    while machine.has_rest:
        read += machine.resume(now=0)
    assert read == packets


def test_requests_count_for_more_than_their_bytes() -> None:
    machine = connected(V3_1_1)
    subscribe = Subscribe(1, [Subscription("a")]).encode(V3_1_1)
    assert len(machine.receive_data(subscribe * 600, now=0)) <= 16
    assert machine.has_rest


def test_what_waits_is_charged_until_it_is_read() -> None:
    machine, account = with_account(1_000_000)
    data = TINY * 40_000
    machine.receive_data(data, now=0)
    assert account.used_bytes == len(data) + CHUNK_OVERHEAD_BYTES
    while machine.has_rest:
        machine.resume(now=0)
    assert account.used_bytes == 0


def test_the_beginning_of_a_packet_behind_slices_waits_for_its_end() -> None:
    machine, account = with_account(1_000_000)
    count = 2 * len(machine.receive_data(TINY * 5000, now=0))
    while machine.has_rest:
        machine.resume(now=0)
    machine.receive_data(TINY * count + TINY[:2], now=0)
    while machine.has_rest:
        machine.resume(now=0)
    assert account.used_bytes == 2 + CHUNK_OVERHEAD_BYTES
    assert machine.receive_data(TINY[2:], now=0) == [Publish("a", b"")]
    assert account.used_bytes == 0


def test_more_bytes_come_behind_what_waits() -> None:
    machine = connected(V3_1_1)
    machine.receive_data(TINY * 5000, now=0)
    last = Publish("last", b"")
    assert machine.receive_data(last.encode(V3_1_1), now=0) == []
    read = []
    while machine.has_rest:
        read = machine.resume(now=0)
    assert read[-1] == last


@pytest.mark.parametrize("end", [Disconnect().encode(V3_1_1), b"\x00\x00"], ids=["DISCONNECT", "malformed"])
def test_nothing_behind_the_end_is_read(end: bytes) -> None:
    machine, account = with_account(1_000_000)
    machine.receive_data(TINY * 5000 + end + TINY * 5000, now=0)
    read = 0
    while machine.has_rest:
        read += sum(type(packet) is Publish for packet in machine.resume(now=0))
    assert read < 5000
    assert machine.is_closed
    assert account.used_bytes == 0


def test_a_connection_that_closes_keeps_nothing() -> None:
    machine, account = with_account(1_000_000)
    machine.receive_data(TINY * 5000, now=0)
    machine.disconnect(ReasonCode.SESSION_TAKEN_OVER)
    assert not machine.has_rest
    assert account.used_bytes == 0


def test_the_keep_alive_counts_from_the_last_slice() -> None:
    machine, _ = with_account(1_000_000)
    machine.receive_data(TINY * 5000 + Pingreq().encode(V3_1_1), now=0)
    while machine.has_rest:
        machine.resume(now=100)
    assert machine.deadline() == 100 + 60 * 1.5


def test_without_room_for_what_waits_little_is_read_at_once() -> None:
    """Nobody is disconnected because others fill the buffers: one read of a socket is read at once then."""
    machine, account = with_account(64 * 1024)
    account.adopt(64 * 1024)
    count = READ_AT_ONCE_BYTES // len(TINY)
    assert len(machine.receive_data(TINY * count, now=0)) == count
    assert not machine.is_closed


def test_without_room_for_what_waits_much_closes() -> None:
    machine, account = with_account(64 * 1024)
    account.adopt(64 * 1024)
    machine.receive_data(TINY * 100_000, now=0)
    assert machine.close_reason is ReasonCode.QUOTA_EXCEEDED
