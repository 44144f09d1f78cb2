"""Each example of the table is written as its bytes, read from them, and refused or told apart when cut."""

from __future__ import annotations

import pytest
from packet_examples import ALL, EXAMPLES, V3_1, V3_1_1, V5, Example, every_example
from packet_reader import PacketReader

from broker.wire.auth import Auth
from broker.wire.codec import Packet, decode_packet
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.errors import MalformedPacketError, WireError
from broker.wire.packet_types import PacketType, ProtocolVersion
from broker.wire.puback import Puback, Pubrel
from broker.wire.publish import Publish
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.unsuback import Unsuback

REPEATING = (PacketType.SUBSCRIBE, PacketType.SUBACK, PacketType.UNSUBSCRIBE, PacketType.UNSUBACK)
SHORTENED = (
    PacketType.PUBACK,
    PacketType.PUBREC,
    PacketType.PUBREL,
    PacketType.PUBCOMP,
    PacketType.DISCONNECT,
    PacketType.AUTH,
)


def has_fixed_end(example: Example) -> bool:
    """Whether a further byte can neither be payload, nor one more entry, nor a field that was left out."""
    packet = example.packet
    if packet.packet_type is PacketType.PUBLISH or (packet.packet_type in REPEATING and not is_bare_unsuback(example)):
        return False
    return not (example.version is V5 and packet.packet_type in SHORTENED and not getattr(packet, "properties", {}))


def is_bare_unsuback(example: Example) -> bool:
    return example.packet.packet_type is PacketType.UNSUBACK and example.version is not V5


@every_example
def test_encode_writes_the_bytes(example: Example) -> None:
    assert example.packet.encode(example.version) == example.encoded


@every_example
def test_decode_reads_the_packet(example: Example) -> None:
    assert decode_packet(example.first_byte, example.body, example.version) == example.packet


@every_example
def test_reader_given_one_byte_at_a_time(example: Example) -> None:
    reader = PacketReader(1024)
    for byte in example.encoded[:-1]:
        reader.feed(bytes((byte,)))
        assert list(reader) == []
    reader.feed(example.encoded[-1:])
    assert list(reader) == [(example.first_byte, example.body)]


@every_example
def test_reader_leaves_what_follows_for_later(example: Example) -> None:
    reader = PacketReader(1024)
    reader.feed(example.encoded + b"\xc0")
    assert list(reader) == [(example.first_byte, example.body)]
    reader.feed(b"\x00")
    assert list(reader) == [(0xC0, b"")]


@every_example
def test_a_cut_body_is_refused_or_another_packet(example: Example) -> None:
    for length in range(len(example.body)):
        try:
            cut = decode_packet(example.first_byte, example.body[:length], example.version)
        except WireError:
            continue
        assert cut != example.packet
        assert not isinstance(cut, Connect), "every byte of a CONNECT is accounted for"


@pytest.mark.parametrize(
    "example",
    [each for each in EXAMPLES if has_fixed_end(each)],
    ids=lambda each: f"{each.version.name}-{each.packet.packet_type.name}",
)
def test_trailing_bytes_are_malformed(example: Example) -> None:
    with pytest.raises(MalformedPacketError, match="after the last field"):
        decode_packet(example.first_byte, example.body + b"\x00", example.version)


@pytest.mark.parametrize(
    ("first_byte", "body", "packet"),
    [
        (0x40, b"\x00\x01\x00", Puback(1)),
        (0x40, b"\x00\x01\x00\x00", Puback(1)),
        (0x62, b"\x00\x01\x92\x00", Pubrel(1, 0x92)),
        (0xE0, b"\x00", Disconnect()),
        (0xE0, b"\x00\x00", Disconnect()),
        (0xE0, b"\x04\x00", Disconnect(0x04)),
        (0xF0, b"\x00\x00", Auth()),
    ],
)
def test_what_may_be_left_out_may_be_written_out(first_byte: int, body: bytes, packet: Packet) -> None:
    """v5 §3.4.2.1, §3.14.2.1, §3.15.2.1: reason code 0x00 and an empty Property Length."""
    assert decode_packet(first_byte, body, V5) == packet
    with pytest.raises(WireError):
        decode_packet(first_byte, body + b"\x00\x00", V5)


@pytest.mark.parametrize(
    ("packet", "version", "encoded"),
    [
        (Suback(1, [1, 0x87, 0x8F]), V3_1_1, b"\x90\x05\x00\x01\x01\x80\x80"),  # [v3.1.1 MQTT-3.9.3-2]
        (Connack(is_session_present=True), V3_1, b"\x20\x02\x00\x00"),
        (Puback(1, 0x10, {"reason_string": "r"}), V3_1_1, b"\x40\x02\x00\x01"),
        (Unsuback(1, [0x11]), V3_1_1, b"\xb0\x02\x00\x01"),
        (Disconnect(0x8B), V3_1_1, b"\xe0\x00"),
        (Publish("a", b"", properties={"content_type": "t"}), V3_1_1, b"\x30\x03\x00\x01a"),
        (Subscribe(1, [Subscription("a", 1, True, True, 2)]), V3_1_1, b"\x82\x06\x00\x01\x00\x01a\x01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_older_version_has_no_room_for_is_not_sent(
    packet: Packet, version: ProtocolVersion, encoded: bytes
) -> None:
    assert packet.encode(version) == encoded


def test_every_packet_type_has_an_example_in_each_version() -> None:
    shown = {(each.version, each.packet.packet_type) for each in EXAMPLES}
    expected = {(version, packet_type) for version in ALL for packet_type in PacketType}
    assert expected - shown == {(version, PacketType.AUTH) for version in ALL if version is not V5}


def test_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Connect(V5, "c", username="u", password=b"hunter2"))
