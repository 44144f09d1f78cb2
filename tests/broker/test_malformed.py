"""Malformed packets and protocol errors end that connection, with its reason code, and nothing else (§4.13)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import mqtt_bytes as mqtt
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Address
    from raw import RawClient

from_3_1_1 = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
only_5 = pytest.mark.parametrize("version", [5], ids=["5"])
MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC, INVALID_ALIAS = 0x81, 0x82, 0x90, 0x94


class Wrong(NamedTuple):
    """Bytes no client may send in a version, and the reason codes that name the mistake."""

    data: Callable[[int], bytes]
    codes: tuple[int, ...] = (MALFORMED,)


def _publish(version: int, topic: bytes, qos: int = 0, packet_id: int = 0) -> bytes:
    return mqtt.publish(version, topic, b"x", qos=qos, packet_id=packet_id)


EVERY_VERSION = {
    "packet type 0": Wrong(lambda _: b"\x00\x00", (MALFORMED, PROTOCOL_ERROR)),
    "QoS 3 [3.3.1-4]": Wrong(lambda v: mqtt.packet(mqtt.PUBLISH, 6, mqtt.text("t") + b"\x00\x01" + mqtt.properties(v))),
    "remaining length of five bytes [1.5.5]": Wrong(lambda _: b"\x30\xff\xff\xff\xff\x01"),
    "topic not UTF-8 [1.5.4-1]": Wrong(lambda v: _publish(v, b"\xff\xfe")),
    "topic with a surrogate [1.5.4-1]": Wrong(lambda v: _publish(v, b"a\xed\xa0\x80")),
    "topic with U+0000 [1.5.4-2]": Wrong(lambda v: _publish(v, b"a\x00b"), (MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC)),
    "topic longer than the packet": Wrong(lambda _: mqtt.packet(mqtt.PUBLISH, 0, b"\x00\x10abc")),
    "topic with + [3.3.2-2]": Wrong(lambda v: _publish(v, b"a/+"), (MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC)),
    "topic with # [3.3.2-2]": Wrong(lambda v: _publish(v, b"#"), (MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC)),
    "empty topic [4.7.3-1]": Wrong(lambda v: _publish(v, b""), (MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC)),
    "PUBLISH of identifier 0 [2.2.1-3]": Wrong(
        lambda v: _publish(v, b"t", qos=1, packet_id=0), (MALFORMED, PROTOCOL_ERROR)
    ),
    "PUBLISH without identifier": Wrong(lambda _: mqtt.packet(mqtt.PUBLISH, 2, mqtt.text("t"))),
    "SUBSCRIBE of identifier 0 [2.2.1-3]": Wrong(
        lambda v: mqtt.subscribe(v, 0, [("t", 0)]), (MALFORMED, PROTOCOL_ERROR)
    ),
    "SUBSCRIBE at QoS 3 [v3.1.1 MQTT-3.8.3-4]": Wrong(
        lambda v: mqtt.subscribe(v, 1, [("t", 3)]), (MALFORMED, PROTOCOL_ERROR)
    ),
    "filter not UTF-8": Wrong(lambda v: mqtt.subscribe(v, 1, [(b"\xc3\x28", 0)])),
    "PUBACK of one byte": Wrong(lambda _: b"\x40\x01\x00"),
    "CONNACK from a client": Wrong(lambda _: b"\x20\x02\x00\x00", (MALFORMED, PROTOCOL_ERROR)),
    "SUBACK from a client": Wrong(lambda _: b"\x90\x03\x00\x01\x00", (MALFORMED, PROTOCOL_ERROR)),
    "PINGRESP from a client": Wrong(lambda _: b"\xd0\x00", (MALFORMED, PROTOCOL_ERROR)),
}
FROM_3_1_1 = {  # MQTT 3.1 leaves these bits without a meaning, and does not speak of empty lists
    "SUBSCRIBE option bits [v5 MQTT-3.8.3-5], [v3.1.1 MQTT-3.8.3-4]": Wrong(
        lambda v: mqtt.subscribe(v, 1, [("t", 0xC0)]), (MALFORMED, PROTOCOL_ERROR)
    ),
    "SUBSCRIBE flags [3.8.1-1]": Wrong(lambda v: b"\x80" + mqtt.subscribe(v, 1, [("t", 0)])[1:]),
    "SUBSCRIBE of nothing [v5 MQTT-3.8.3-2], [v3.1.1 MQTT-3.8.3-3]": Wrong(
        lambda v: mqtt.subscribe(v, 1, []), (MALFORMED, PROTOCOL_ERROR)
    ),
    "UNSUBSCRIBE of nothing [3.10.3-2]": Wrong(lambda v: mqtt.unsubscribe(v, 1, []), (MALFORMED, PROTOCOL_ERROR)),
    "UNSUBSCRIBE flags [3.10.1-1]": Wrong(lambda v: b"\xa0" + mqtt.unsubscribe(v, 1, ["t"])[1:]),
    "PUBREL flags [3.6.1-1]": Wrong(lambda _: b"\x60\x02\x00\x01"),
    "PINGREQ flags [2.1.3-1]": Wrong(lambda _: b"\xc1\x00"),
}
ONLY_5 = {
    "topic alias 0 [3.3.2-8]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.TOPIC_ALIAS, 0)]), (INVALID_ALIAS, PROTOCOL_ERROR)
    ),
    "topic alias beyond the maximum [3.3.2-9]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.TOPIC_ALIAS, 65535)]), (INVALID_ALIAS,)
    ),
    "unknown topic alias": Wrong(
        lambda v: mqtt.publish(v, "", b"x", props=[(mqtt.TOPIC_ALIAS, 1)]), (PROTOCOL_ERROR, INVALID_ALIAS)
    ),
    "response topic with wildcard [3.3.2-14]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.RESPONSE_TOPIC, "a/#")]),
        (MALFORMED, PROTOCOL_ERROR, INVALID_TOPIC),
    ),
    "property twice [2.2.2]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.CONTENT_TYPE, "a"), (mqtt.CONTENT_TYPE, "b")]),
        (PROTOCOL_ERROR,),
    ),
    "property of another packet [2.2.2.2]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.SESSION_EXPIRY_INTERVAL, 1)]), (MALFORMED, PROTOCOL_ERROR)
    ),
    "unknown property": Wrong(
        lambda _: mqtt.packet(mqtt.PUBLISH, 0, mqtt.text("t") + b"\x02\x7f\x00"), (MALFORMED, PROTOCOL_ERROR)
    ),
    "properties longer than the packet": Wrong(
        lambda _: mqtt.packet(mqtt.PUBLISH, 0, mqtt.text("t") + b"\x7f\x01\x00")
    ),
    "subscription identifier from a client [3.3.4-6]": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.SUBSCRIPTION_IDENTIFIER, 1)]), (MALFORMED, PROTOCOL_ERROR)
    ),
    "subscription identifier 0": Wrong(
        lambda v: mqtt.subscribe(v, 1, [("t", 0)], [(mqtt.SUBSCRIPTION_IDENTIFIER, 0)]), (PROTOCOL_ERROR,)
    ),
    "retain handling 3": Wrong(lambda v: mqtt.subscribe(v, 1, [("t", 0x30)]), (MALFORMED, PROTOCOL_ERROR)),
    "no local on a shared subscription [3.8.3-4]": Wrong(
        lambda v: mqtt.subscribe(v, 1, [("$share/g/t", 4)]), (PROTOCOL_ERROR,)
    ),
    "AUTH without a method": Wrong(lambda _: b"\xf0\x00", (PROTOCOL_ERROR,)),
    "UTF-8 string of a property broken": Wrong(
        lambda v: mqtt.publish(v, "t", b"x", props=[(mqtt.CONTENT_TYPE, b"\xff")])
    ),
}


def _assert_only_the_wrong_one_ends(
    broker: Address, client: Callable[..., RawClient], name: Callable[[], str], version: int, wrong: Wrong
) -> None:
    bystander, offender = client(name()), client(name())
    offender.send(wrong.data(version))
    packets = offender.receive_until_closed()
    if version == 5:
        assert [packet.type for packet in packets] == [mqtt.DISCONNECT]  # [v5 MQTT-4.13.1-1]
        assert mqtt.read_disconnect(packets[0]) in wrong.codes
    else:
        assert packets == []  # a 3.x server has no way to say why
    bystander.ping()
    assert "Traceback" not in broker.log


@pytest.mark.parametrize("wrong", EVERY_VERSION.values(), ids=EVERY_VERSION)
def test_mqtt_4_8_0_1_wrong_packets_close_their_connection(
    broker: Address, client: Callable[..., RawClient], name: Callable[[], str], version: int, wrong: Wrong
) -> None:
    """[v3.1.1 MQTT-4.8.0-1], [v5 MQTT-4.13.1-1]; the statements in the names are those of MQTT 5."""
    _assert_only_the_wrong_one_ends(broker, client, name, version, wrong)


@from_3_1_1
@pytest.mark.parametrize("wrong", FROM_3_1_1.values(), ids=FROM_3_1_1)
def test_mqtt_2_2_2_2_reserved_bits_and_empty_lists_close_their_connection(
    broker: Address, client: Callable[..., RawClient], name: Callable[[], str], version: int, wrong: Wrong
) -> None:
    _assert_only_the_wrong_one_ends(broker, client, name, version, wrong)


@only_5
@pytest.mark.parametrize("wrong", ONLY_5.values(), ids=ONLY_5)
def test_v5_mqtt_4_13_1_1_wrong_packets_close_their_connection(
    broker: Address, client: Callable[..., RawClient], name: Callable[[], str], version: int, wrong: Wrong
) -> None:
    _assert_only_the_wrong_one_ends(broker, client, name, version, wrong)


WRONG_CONNECTS = {
    "will QoS 3 [v5 MQTT-3.1.2-12], [v3.1.1 MQTT-3.1.2-14]": lambda v: _connect_flags(v, 0x1E),
    "will QoS without a will [v5 MQTT-3.1.2-11], [v3.1.1 MQTT-3.1.2-11, -13]": lambda v: _connect_flags(v, 0x0A),
    "will retain without a will [v5 MQTT-3.1.2-13], [v3.1.1 MQTT-3.1.2-15]": lambda v: _connect_flags(v, 0x22),
    "client id not UTF-8 [3.1.3-4]": lambda v: _connect_flags(v, 0x02, b"\x00\x02\xff\xfe"),
    "payload missing": lambda v: _connect_flags(v, 0x02, b""),
    "user name missing [v5 MQTT-3.1.2-17], [v3.1.1 MQTT-3.1.2-19]": lambda v: _connect_flags(v, 0x82),
    "flags of the fixed header": lambda v: b"\x11" + mqtt.connect(v, "c")[1:],
    "bytes behind the payload [v5 MQTT-3.1.2-16], [v3.1.1 MQTT-3.1.2-18]": lambda v: _connect_flags(
        v, 0x02, b"\x00\x01cextra"
    ),
}


def _connect_flags(version: int, flags: int, payload: bytes = b"\x00\x01c") -> bytes:
    header = mqtt.text("MQTT") + bytes([version, flags, 0, 60]) + mqtt.properties(version)
    return mqtt.packet(mqtt.CONNECT, 0, header + payload)


@from_3_1_1
@pytest.mark.parametrize("wrong", WRONG_CONNECTS.values(), ids=WRONG_CONNECTS)
def test_a_malformed_connect_is_closed(
    broker: Address, open_client: Callable[..., RawClient], version: int, wrong: Callable[[int], bytes]
) -> None:
    connection = open_client()
    connection.send(wrong(version))
    for packet in connection.receive_until_closed():
        assert packet.type in (mqtt.CONNACK, mqtt.DISCONNECT)
        assert packet.body[1 if packet.type == mqtt.CONNACK else 0] in (0x02, 0x81, 0x82, 0x85, 0x9A, 0x9B)
    assert "Traceback" not in broker.log


@pytest.mark.parametrize("seed", range(5))
def test_garbage_hurts_nobody_else(
    broker: Address, client: Callable[..., RawClient], open_client: Callable[..., RawClient], name: Callable[[], str],
    seed: int,
) -> None:  # fmt: skip
    bystander, generator = client(name()), random.Random(seed)
    for _ in range(40):
        connection = client(name()) if generator.random() < 0.7 else open_client()
        connection.send(generator.randbytes(generator.randrange(1, 200)))
        connection.close()
    bystander.ping()
    assert "Traceback" not in broker.log
