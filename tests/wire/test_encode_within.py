"""A packet is made to fit the receiver's Maximum Packet Size, or not sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_examples import EXAMPLES, V5, Example, every_example
from packet_strategies import KINDS, few_examples

from broker.wire.codec import encode_within
from broker.wire.connack import Connack
from broker.wire.disconnect import Disconnect
from broker.wire.puback import Puback
from broker.wire.publish import Publish
from broker.wire.suback import Suback
from broker.wire.unsuback import Unsuback

Answer = Connack | Puback | Suback | Unsuback | Disconnect

EXPLAINED = {"reason_string": "because", "user_property": [("name", "value")]}


@every_example
def test_a_packet_that_fits_is_unchanged(example: Example) -> None:
    assert encode_within(example.packet, example.version, len(example.encoded)) == example.encoded
    assert encode_within(example.packet, example.version, 268_435_460) == example.encoded


@pytest.mark.parametrize(
    "packet",
    [
        Connack(reason_code=0x87, properties=EXPLAINED),
        Puback(1, 0x97, EXPLAINED),
        Suback(1, [0x80], EXPLAINED),
        Unsuback(1, [0x80], EXPLAINED),
        Disconnect(0x8D, EXPLAINED),
    ],
    ids=lambda packet: packet.packet_type.name,
)
def test_an_answer_leaves_out_user_properties_then_its_reason_string(packet: Answer) -> None:
    """v5 §3.2.2.3.9, §3.4.2.2.2: not sent if it would make the packet larger than the receiver accepts."""
    reason_only = replace(packet, properties={"reason_string": "because"}).encode(V5)
    bare = replace(packet, properties={}).encode(V5)
    assert encode_within(packet, V5, len(packet.encode(V5)) - 1) == reason_only
    assert encode_within(packet, V5, len(reason_only) - 1) == bare
    assert encode_within(packet, V5, len(bare)) == bare
    assert encode_within(packet, V5, len(bare) - 1) is None
    assert packet.properties == EXPLAINED


def test_other_properties_of_an_answer_are_kept() -> None:
    packet = Connack(properties={"server_keep_alive": 30, "reason_string": "r" * 50})
    assert encode_within(packet, V5, 20) == Connack(properties={"server_keep_alive": 30}).encode(V5)
    assert encode_within(packet, V5, 7) is None


def test_mqtt_3_3_2_17_user_properties_of_a_message_are_never_left_out() -> None:
    packet = Publish("a", b"x", properties={"user_property": [("name", "value")]})
    encoded = packet.encode(V5)
    assert encode_within(packet, V5, len(encoded)) == encoded
    assert encode_within(packet, V5, len(encoded) - 1) is None


@pytest.mark.parametrize("kind", KINDS)
@few_examples
@given(data=st.data())
def test_mqtt_3_1_2_24_nothing_larger_is_returned(kind: str, data: st.DataObject) -> None:
    packet = data.draw(KINDS[kind](V5))
    maximum = data.draw(st.integers(1, 120))
    encoded = encode_within(packet, V5, maximum)
    assert encoded is None or len(encoded) <= maximum


def test_examples_hold_packets_that_cannot_be_trimmed() -> None:
    assert all(encode_within(each.packet, each.version, 1) is None for each in EXAMPLES)
