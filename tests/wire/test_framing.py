"""Cutting a stream into packets: bounds, any chunking, and errors in their place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_reader import PacketReader

from broker.wire.errors import MalformedPacketError, PacketTooLargeError, WireError
from broker.wire.framing import frame, read_remaining_length
from broker.wire.reason_codes import ReasonCode


def in_chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xff\x7f", 16_383),
        (b"\x80\x80\x01", 16_384),
        (b"\xff\xff\xff\x7f", 268_435_455),
        (b"\x80\x80\x80\x00", 0),
    ],
)
def test_remaining_length(encoded: bytes, value: int) -> None:
    assert read_remaining_length(encoded, 0) == (value, len(encoded))
    assert read_remaining_length(b"\x30" + encoded + b"\xff", 1) == (value, len(encoded) + 1)
    assert all(read_remaining_length(encoded[:cut], 0) is None for cut in range(len(encoded)))


def test_a_remaining_length_of_five_bytes_is_malformed() -> None:
    reader = PacketReader(100)
    reader.feed(b"\x30\xff\xff\xff")
    assert list(reader) == []
    reader.feed(b"\xff")
    with pytest.raises(MalformedPacketError) as raised:
        list(reader)
    assert raised.value.reason_code is ReasonCode.MALFORMED_PACKET


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(0, 10_000), max_size=20),
)
def test_any_chunking_gives_the_same_packets(packets: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(frame(first_byte, body) for first_byte, body in packets)
    reader = PacketReader(1024)
    read: list[tuple[int, bytes]] = []
    for chunk in in_chunks(stream, cuts):
        reader.feed(chunk)
        read += reader
    assert read == packets


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=10))
def test_arbitrary_bytes_raise_only_wire_errors_and_stay_bounded(chunks: list[bytes]) -> None:
    reader = PacketReader(64)
    for chunk in chunks:
        reader.feed(chunk)
        try:
            assert all(len(body) <= 62 for _, body in reader)
        except WireError:
            return
        assert len(reader._received) < 64


def test_maximum_packet_size_counts_the_whole_packet() -> None:
    """v5 §3.1.2.11.4: the fixed header is part of the size."""
    reader = PacketReader(10)
    reader.feed(b"\x30\x08" + bytes(8))
    assert list(reader) == [(0x30, bytes(8))]
    reader.feed(b"\x30\x09")
    with pytest.raises(PacketTooLargeError) as raised:
        list(reader)
    assert raised.value.reason_code is ReasonCode.PACKET_TOO_LARGE


def test_a_packet_too_large_is_refused_from_its_header() -> None:
    reader = PacketReader(1_000_000)
    reader.feed(b"\x30\xff\xff\xff\x7f")
    with pytest.raises(PacketTooLargeError):
        next(iter(reader))


def test_good_packets_before_a_bad_one_come_first() -> None:
    reader = PacketReader(16)
    reader.feed(b"\xc0\x00\xe0\x00\x30\x7f")
    packets = iter(reader)
    assert next(packets) == (0xC0, b"")
    assert next(packets) == (0xE0, b"")
    with pytest.raises(PacketTooLargeError):
        next(packets)


def test_packets_left_after_a_break_are_still_there() -> None:
    reader = PacketReader(16)
    reader.feed(b"\xc0\x00\xd0\x00\xe0")
    for first_byte, _ in reader:
        assert first_byte == 0xC0
        break
    reader.feed(b"\x00")
    assert list(reader) == [(0xD0, b""), (0xE0, b"")]
