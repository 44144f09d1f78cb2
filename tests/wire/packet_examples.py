"""One table of (packet, version, bytes), written by hand from the specification and used both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from broker.wire.auth import Auth
from broker.wire.connack import Connack
from broker.wire.connect import Connect, Will
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.ping import Pingreq, Pingresp
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.unsuback import Unsuback
from broker.wire.unsubscribe import Unsubscribe

if TYPE_CHECKING:
    from broker.wire.codec import Packet

V3_1, V3_1_1, V5 = ProtocolVersion
V3 = (V3_1, V3_1_1)
ALL = (V3_1, V3_1_1, V5)


class Example(NamedTuple):
    packet: Packet
    version: ProtocolVersion
    encoded: bytes

    @property
    def first_byte(self) -> int:
        return self.encoded[0]

    @property
    def body(self) -> bytes:
        """What stands behind the fixed header; all examples have a Remaining Length of one or two bytes."""
        return self.encoded[2:] if self.encoded[1] < 0x80 else self.encoded[3:]


def _rows() -> list[tuple[tuple[ProtocolVersion, ...], Packet, bytes]]:
    return [
        # --- CONNECT
        ((V3_1,), Connect(V3_1, "c", keep_alive=60), b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c"),
        ((V3_1_1,), Connect(V3_1_1, "c", False, 10), b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x0a\x00\x01c"),
        ((V5,), Connect(V5, ""), b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"),
        (
            (V3_1_1,),
            Connect(V3_1_1, "dev", True, 65535, Will("w/t", b"\x00\xff", 2, True), "user", b"pass"),
            b"\x10\x24\x00\x04MQTT\x04\xf6\xff\xff\x00\x03dev\x00\x03w/t\x00\x02\x00\xff\x00\x04user\x00\x04pass",
        ),
        (
            (V3_1,),
            Connect(V3_1, "c", will=Will("w", b"")),
            b"\x10\x14\x00\x06MQIsdp\x03\x06\x00\x00\x00\x01c\x00\x01w\x00\x00",
        ),
        ((V3_1_1,), Connect(V3_1_1, "c", username=""), b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x00\x00\x01c\x00\x00"),
        ((V5,), Connect(V5, "c", password=b"p"), b"\x10\x11\x00\x04MQTT\x05\x42\x00\x00\x00\x00\x01c\x00\x01p"),
        (
            (V5,),
            Connect(
                V5,
                "c",
                will=Will("w", b"bye", 1, False, {"content_type": "t", "will_delay_interval": 5}),
                properties={
                    "session_expiry_interval": 3600,
                    "receive_maximum": 20,
                    "user_property": [("a", "1"), ("a", "2")],
                },
            ),
            (
                b"\x10\x36\x00\x04MQTT\x05\x0e\x00\x00"
                b"\x16\x11\x00\x00\x0e\x10\x21\x00\x14\x26\x00\x01a\x00\x011\x26\x00\x01a\x00\x012"
                b"\x00\x01c"
                b"\x09\x03\x00\x01t\x18\x00\x00\x00\x05\x00\x01w\x00\x03bye"
            ),
        ),
        # --- CONNACK
        (ALL[:2], Connack(), b"\x20\x02\x00\x00"),
        ((V3_1_1,), Connack(is_session_present=True), b"\x20\x02\x01\x00"),
        (V3, Connack(reason_code=5), b"\x20\x02\x00\x05"),
        ((V5,), Connack(is_session_present=True), b"\x20\x03\x01\x00\x00"),
        (
            (V5,),
            Connack(properties={"assigned_client_identifier": "id", "maximum_qos": 1, "maximum_packet_size": 65536}),
            b"\x20\x0f\x00\x00\x0c\x12\x00\x02id\x24\x01\x27\x00\x01\x00\x00",
        ),
        ((V5,), Connack(reason_code=0x87, properties={"reason_string": "no"}), b"\x20\x08\x00\x87\x05\x1f\x00\x02no"),
        # --- PUBLISH
        (V3, Publish("a/b", b"hi"), b"\x30\x07\x00\x03a/bhi"),
        (V3, Publish("a", b""), b"\x30\x03\x00\x01a"),
        (V3, Publish("a", b"x", 1, True, True, 258), b"\x3b\x06\x00\x01a\x01\x02x"),
        (V3, Publish("a", b"x", 2, packet_id=1), b"\x34\x06\x00\x01a\x00\x01x"),
        (ALL[:2], Publish("\ufeffé€😀", b""), b"\x30\x0e\x00\x0c\xef\xbb\xbf\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        (V3, Publish("a", b"x" * 200), b"\x30\xcb\x01\x00\x01a" + b"x" * 200),
        ((V5,), Publish("a", b"x"), b"\x30\x05\x00\x01a\x00x"),
        ((V5,), Publish("", b"x", 1, packet_id=9, properties={"topic_alias": 3}), b"\x32\x09\0\0\0\x09\x03\x23\0\x03x"),
        (
            (V5,),
            Publish(
                "a", b"x", properties={"response_topic": "r", "correlation_data": b"\0", "user_property": [("", "")]}
            ),
            b"\x30\x12\x00\x01a\x0d\x08\x00\x01r\x09\x00\x01\x00\x26\x00\x00\x00\x00x",
        ),
        (
            (V5,),
            Publish("a", b"x", properties={"message_expiry_interval": 9, "subscription_identifier": [1, 268435455]}),
            b"\x30\x11\x00\x01a\x0c\x02\x00\x00\x00\x09\x0b\x01\x0b\xff\xff\xff\x7fx",
        ),
        # --- PUBACK, PUBREC, PUBREL, PUBCOMP
        (ALL, Puback(1), b"\x40\x02\x00\x01"),
        (ALL, Pubrec(256), b"\x50\x02\x01\x00"),
        (ALL, Pubrel(65535), b"\x62\x02\xff\xff"),
        (ALL, Pubcomp(3), b"\x70\x02\x00\x03"),
        ((V5,), Puback(1, 0x10), b"\x40\x03\x00\x01\x10"),
        ((V5,), Pubrec(1, 0x97, {"reason_string": "full"}), b"\x50\x0b\x00\x01\x97\x07\x1f\x00\x04full"),
        ((V5,), Pubrel(1, 0x92), b"\x62\x03\x00\x01\x92"),
        ((V5,), Pubcomp(1, 0, {"user_property": [("k", "v")]}), b"\x70\x0b\x00\x01\x00\x07\x26\x00\x01k\x00\x01v"),
        # --- SUBSCRIBE, SUBACK
        (
            V3,
            Subscribe(10, [Subscription("a/#", 1), Subscription("+", 2)]),
            b"\x82\x0c\x00\x0a\x00\x03a/#\x01\x00\x01+\x02",
        ),
        (
            (V5,),
            Subscribe(10, [Subscription("a", 2, True, True, 2), Subscription("b", retain_handling=1)]),
            b"\x82\x0b\x00\x0a\x00\x00\x01a\x2e\x00\x01b\x10",
        ),
        (
            (V5,),
            Subscribe(1, [Subscription("$share/g/t", 1)], {"subscription_identifier": [200]}),
            b"\x82\x13\x00\x01\x03\x0b\xc8\x01\x00\x0a$share/g/t\x01",
        ),
        (V3, Suback(10, [0, 1, 2]), b"\x90\x05\x00\x0a\x00\x01\x02"),
        ((V3_1_1,), Suback(10, [0x80]), b"\x90\x03\x00\x0a\x80"),
        ((V5,), Suback(10, [2, 0x87]), b"\x90\x05\x00\x0a\x00\x02\x87"),
        ((V5,), Suback(1, [0x8F], {"reason_string": "x"}), b"\x90\x08\x00\x01\x04\x1f\x00\x01x\x8f"),
        # --- UNSUBSCRIBE, UNSUBACK
        (V3, Unsubscribe(2, ["a", "b/+"]), b"\xa2\x0a\x00\x02\x00\x01a\x00\x03b/+"),
        ((V5,), Unsubscribe(2, ["a"]), b"\xa2\x06\x00\x02\x00\x00\x01a"),
        (V3, Unsuback(2), b"\xb0\x02\x00\x02"),
        ((V5,), Unsuback(2, [0, 0x11]), b"\xb0\x05\x00\x02\x00\x00\x11"),
        # --- the rest
        (ALL, Pingreq(), b"\xc0\x00"),
        (ALL, Pingresp(), b"\xd0\x00"),
        (ALL, Disconnect(), b"\xe0\x00"),
        ((V5,), Disconnect(0x04), b"\xe0\x01\x04"),
        ((V5,), Disconnect(0x8B, {"server_reference": "s"}), b"\xe0\x06\x8b\x04\x1c\x00\x01s"),
        ((V5,), Disconnect(0, {"session_expiry_interval": 0}), b"\xe0\x07\x00\x05\x11\x00\x00\x00\x00"),
        ((V5,), Auth(), b"\xf0\x00"),
        ((V5,), Auth(0x19), b"\xf0\x02\x19\x00"),
        ((V5,), Auth(0, {"authentication_method": "M"}), b"\xf0\x06\x00\x04\x15\x00\x01M"),
        (
            (V5,),
            Auth(0x18, {"authentication_method": "M", "authentication_data": b"\x00"}),
            b"\xf0\x0a\x18\x08\x15\x00\x01M\x16\x00\x01\x00",
        ),
    ]


EXAMPLES = [Example(packet, version, encoded) for versions, packet, encoded in _rows() for version in versions]

every_example = pytest.mark.parametrize(
    "example",
    [
        pytest.param(each, id=f"{each.version.name}-{each.packet.packet_type.name}-{number}")
        for number, each in enumerate(EXAMPLES)
    ],
)
