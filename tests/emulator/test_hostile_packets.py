"""Packets as bytes, and answers as words."""

from __future__ import annotations

import pytest

from emulator.hostile import packets
from emulator.hostile.packets import V5, V311
from emulator.hostile.stream import PacketStream, answers


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (packets.connect(b"c"), "100d 0004 4d515454 04 02 0258 0001 63"),
        (packets.connect(b"c", version=V5, is_clean=False, expiry_s=1, username="u", password="p"),
         "1019 0004 4d515454 05 c0 0258 05 1100000001 0001 63 0001 75 0001 70"),
        (packets.connect(b"", will=(b"t", b"w")), "1012 0004 4d515454 04 0e 0258 0000 0001 74 0001 77"),
        (packets.subscribe(1, [b"a", b"b"], qos=1), "820a 0001 0001 61 01 0001 62 01"),
        (packets.unsubscribe(2, [b"a"], version=V5), "a206 0002 00 0001 61"),
        (packets.publish(b"a"), "3003 0001 61"),
        (packets.publish(b"a", b"x", qos=2, packet_id=3, is_retained=True), "3506 0001 61 0003 78"),
        (packets.publish(b"", version=V5, properties=b"\x23\x00\x01"), "3006 0000 03 230001"),
        (packets.acknowledge(packets.PUBREL, 5), "6202 0005"),
        (packets.leave(expiry_s=0), "e007 00 05 1100000000"),
        (packets.fixed_header(0x30, 200_000), "30 c09a0c"),
    ],
)  # fmt: skip
def test_a_packet_is_as_the_specification_says(made: bytes, expected: str):
    assert made == bytes.fromhex(expected)


PACKETS = [
    (0x20, b"\x00\x00", V311, ["CONNACK 0x00"]),
    (0x20, b"\x00\x97\x00", V5, ["CONNACK 0x97"]),
    (0x90, b"\x00\x01\x00\x80", V311, ["SUBACK 0x00", "SUBACK 0x80"]),
    (0x90, b"\x00\x01\x02\x1f\x00\x97", V5, ["SUBACK 0x97"]),
    (0xB0, b"\x00\x01", V311, ["UNSUBACK"]),
    (0x40, b"\x00\x01", V5, ["PUBACK"]),
    (0x40, b"\x00\x01\x97", V5, ["PUBACK 0x97"]),
    (0xE0, b"\x93", V5, ["DISCONNECT 0x93"]),
    (0xE0, b"", V5, ["DISCONNECT 0x00"]),
    (0xD0, b"", V311, ["PINGRESP"]),
    (0x30, b"\x00\x01a" + b"x" * 300, V311, ["PUBLISH"]),
]


@pytest.mark.parametrize(("first", "body", "version", "expected"), PACKETS)
def test_an_answer_in_words(first: int, body: bytes, version: int, expected: list[str]):
    assert answers(first, body, version) == expected


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_packets_come_in_any_pieces(size: int):
    stream, whole = PacketStream(), b"".join(packets.packet(first, body) for first, body, *_ in PACKETS)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert [each for piece in pieces for each in stream.feed(piece)] == [(first, body) for first, body, *_ in PACKETS]


def test_what_is_no_mqtt_is_refused():
    with pytest.raises(ValueError, match="no MQTT"):
        list(PacketStream().feed(b"\x20\xff\xff\xff\xff\xff"))
