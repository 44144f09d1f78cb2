"""The table of properties: against paho's own table and encoder, and the errors of MQTT 5.0 §2.2.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_strategies import few_examples, properties_of
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from broker.wire.errors import MalformedPacketError, ProtocolViolationError, WireError
from broker.wire.packet_types import PacketType
from broker.wire.properties import (
    TABLE,
    Properties,
    Property,
    PropertyPlace,
    encode_properties,
    is_property_of,
    read_properties,
)
from broker.wire.reason_codes import ReasonCode

PLACES: list[PropertyPlace] = [*PacketType, "WILL"]
TYPE_NAMES = {
    "encode_byte": "Byte",
    "encode_two_byte_integer": "Two Byte Integer",
    "encode_four_byte_integer": "Four Byte Integer",
    "encode_variable_byte_integer": "Variable Byte Integer",
    "encode_binary_data": "Binary Data",
    "encode_utf8_string": "UTF-8 Encoded String",
    "encode_utf8_string_pair": "UTF-8 String Pair",
}


GOOD_VALUES = {
    "Binary Data": b"\x00",
    "UTF-8 Encoded String": "text",
    "UTF-8 String Pair": ("name", "value"),
}


def good_value(row: Property) -> Any:
    value = GOOD_VALUES.get(TYPE_NAMES[row.codec[1].__name__], 1)
    return [value] if row.is_list else value


def paho_place(place: PropertyPlace) -> int:
    return PacketTypes.WILLMESSAGE if place == "WILL" else int(place)


def read_all(encoded: bytes, place: PropertyPlace) -> Properties:
    properties, position = read_properties(encoded, 0, len(encoded), place)
    assert position == len(encoded)
    return properties


def test_table_agrees_with_paho() -> None:
    """Identifier, name, type and places of all 27, as others read the specification."""
    paho = PahoProperties(PacketTypes.PUBLISH)
    theirs = {
        identifier: (name.lower().replace(" ", "_"), paho.types[paho.properties[identifier][0]])
        for name, identifier in paho.names.items()
    }
    assert {row.identifier: (row.name, TYPE_NAMES[row.codec[1].__name__]) for row in TABLE} == theirs
    for row in TABLE:
        places = {paho_place(place) for place in row.places}
        assert places == set(paho.properties[row.identifier][1]), row.name
    assert len(TABLE) == 27


@few_examples
@given(st.sampled_from(PLACES).flatmap(lambda place: st.tuples(st.just(place), properties_of(place))))
def test_same_bytes_as_paho(case: tuple[PropertyPlace, Properties]) -> None:
    place, properties = case
    paho = PahoProperties(paho_place(place))
    for name, value in properties.items():
        if name == "maximum_packet_size":
            continue  # paho stops at 268,435,455
        paho_name = next(each for each in paho.names if each.lower().replace(" ", "_") == name)
        setattr(paho, paho_name.replace(" ", ""), value)
    known = {row.name: properties[row.name] for row in TABLE if row.name in properties.keys() - {"maximum_packet_size"}}
    assert encode_properties(known) == paho.pack()


@few_examples
@given(st.sampled_from(PLACES).flatmap(lambda place: st.tuples(st.just(place), properties_of(place))))
def test_there_and_back(case: tuple[PropertyPlace, Properties]) -> None:
    place, properties = case
    assert read_all(encode_properties(properties), place) == properties


def test_no_properties() -> None:
    assert encode_properties({}) == b"\x00"
    assert read_properties(b"?\x00?", 1, 2, PacketType.PUBLISH) == ({}, 2)
    with pytest.raises(MalformedPacketError):
        read_properties(b"\x00", 0, 0, PacketType.PUBLISH)


def test_each_packet_has_its_own_properties() -> None:
    first, _ = read_properties(b"\x00", 0, 1, PacketType.PUBLISH)
    first["content_type"] = "changed"
    assert read_all(b"\x00", PacketType.PUBLISH) == {}


def test_mqtt_3_3_2_18_user_properties_keep_their_order() -> None:
    pairs = [("b", "1"), ("a", "2"), ("b", "1")]
    assert read_all(encode_properties({"user_property": pairs}), PacketType.PUBLISH) == {"user_property": pairs}


def test_properties_keep_their_order() -> None:
    properties = {"topic_alias": 1, "content_type": "t", "user_property": [("a", "b")]}
    assert list(read_all(encode_properties(properties), PacketType.PUBLISH)) == list(properties)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_property_in_a_wrong_place_is_refused(row: Property) -> None:
    """§2.2.2.2: an identifier that is not valid for its packet type. Malformed in a request, else a Protocol Error."""
    encoded = encode_properties({row.name: good_value(row)})
    for place in PLACES:
        assert is_property_of(row.name, place) == (place in row.places)
        if place not in row.places:
            is_request = place in (PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)
            with pytest.raises(MalformedPacketError if is_request else ProtocolViolationError, match=row.name):
                read_properties(encoded, 0, len(encoded), place)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_cut_property_is_malformed_wherever_it_stands(row: Property) -> None:
    whole = encode_properties({row.name: good_value(row)})[1:]
    for place in PLACES:
        for length in range(1, len(whole)):
            with pytest.raises(MalformedPacketError):
                read_properties(bytes((length,)) + whole[:length], 0, length + 1, place)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_property_standing_twice_is_a_protocol_error(row: Property) -> None:
    """v5 §3: "It is a Protocol Error to include … more than once"; User Property, and in PUBLISH the identifier, may."""
    once = encode_properties({row.name: good_value(row)})[1:]
    twice = bytes((len(once) * 2,)) + once * 2
    for place in row.places:
        if row.name == "user_property" or (row.name == "subscription_identifier" and place is PacketType.PUBLISH):
            assert read_all(twice, place) == {row.name: good_value(row) * 2}
        else:
            with pytest.raises(ProtocolViolationError, match="twice"):
                read_properties(twice, 0, len(twice), place)


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("receive_maximum", 0, PacketType.CONNECT),
        ("maximum_packet_size", 0, PacketType.CONNECT),
        ("request_problem_information", 2, PacketType.CONNECT),
        ("request_response_information", 255, PacketType.CONNECT),
        ("payload_format_indicator", 2, PacketType.PUBLISH),
        ("payload_format_indicator", 2, "WILL"),
        ("subscription_identifier", [0], PacketType.SUBSCRIBE),
        ("maximum_qos", 2, PacketType.CONNACK),
        ("retain_available", 2, PacketType.CONNACK),
        ("wildcard_subscription_available", 2, PacketType.CONNACK),
        ("subscription_identifier_available", 2, PacketType.CONNACK),
        ("shared_subscription_available", 2, PacketType.CONNACK),
    ],
)
def test_value_out_of_bounds_is_a_protocol_error(name: str, value: Any, place: PropertyPlace) -> None:
    encoded = encode_properties({name: value})
    with pytest.raises(ProtocolViolationError, match=name) as raised:
        read_properties(encoded, 0, len(encoded), place)
    assert raised.value.reason_code is ReasonCode.PROTOCOL_ERROR


def test_mqtt_3_3_2_8_topic_alias_is_not_zero() -> None:
    with pytest.raises(ProtocolViolationError) as raised:
        read_properties(b"\x03\x23\x00\x00", 0, 4, PacketType.PUBLISH)
    assert raised.value.reason_code is ReasonCode.TOPIC_ALIAS_INVALID


@pytest.mark.parametrize(
    ("response_topic", "error"),
    [
        ("a/+", MalformedPacketError),
        ("#", MalformedPacketError),
        ("a\x1f", MalformedPacketError),
        ("", ProtocolViolationError),
    ],
)
def test_mqtt_3_3_2_14_response_topic_is_a_topic_name(response_topic: str, error: type[WireError]) -> None:
    encoded = encode_properties({"response_topic": response_topic})
    with pytest.raises(error):
        read_properties(encoded, 0, len(encoded), PacketType.PUBLISH)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"\x02\x00\x00", id="identifier-0"),
        pytest.param(b"\x02\x04\x00", id="identifier-4"),
        pytest.param(b"\x03\xff\x7f\x00", id="identifier-16383"),
        pytest.param(b"\x03\x81\x00\x01", id="identifier-1-in-two-bytes"),
        pytest.param(b"\x05\x01\x01", id="length-past-the-packet"),
        pytest.param(b"\x01\x01\x01", id="value-past-the-length"),
        pytest.param(b"\x04\x03\x00\x02a\x00", id="string-past-the-length"),
        pytest.param(b"\x80\x00", id="length-0-in-two-bytes"),
        pytest.param(b"\x80", id="length-cut"),
    ],
)
def test_bytes_that_are_no_properties_are_malformed(encoded: bytes) -> None:
    with pytest.raises(MalformedPacketError):
        read_properties(encoded, 0, len(encoded), PacketType.PUBLISH)


@few_examples
@given(st.binary(max_size=40), st.sampled_from(PLACES))
def test_arbitrary_bytes_raise_only_wire_errors(encoded: bytes, place: PropertyPlace) -> None:
    try:
        properties, position = read_properties(encoded, 0, len(encoded), place)
    except WireError:
        return
    assert len(encode_properties(properties)) == position
