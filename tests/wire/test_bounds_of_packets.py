"""What one packet can make the broker decode is bounded: topic filters and properties by number, properties by bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from broker.wire.codec import decode_packet
from broker.wire.connect import Connect
from broker.wire.errors import PacketTooLargeError, QuotaExceededError, WireError
from broker.wire.framing import read_bounds
from broker.wire.packet_types import PacketType, ProtocolVersion
from broker.wire.properties import (
    MOST_BYTES,
    MOST_PROPERTIES,
    encode_properties,
    read_properties,
    read_stored_properties,
)
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.topic_filter import MOST_FILTERS
from broker.wire.unsubscribe import Unsubscribe

V5 = ProtocolVersion.V5
PACKET_BYTES = 2_000_000


def decode(data: bytes) -> object:
    bounds = read_bounds(data, 0, PACKET_BYTES + 10)
    assert bounds is not None
    return decode_packet(data[0], data[slice(*bounds)], V5)


def subscribe(count: int) -> bytes:
    return Subscribe(1, [Subscription("a")] * count).encode(V5)


def unsubscribe(count: int) -> bytes:
    return Unsubscribe(1, ["a"] * count).encode(V5)


@pytest.mark.parametrize("request_of", [subscribe, unsubscribe])
def test_a_packet_names_so_many_filters_and_no_more(request_of: object) -> None:
    assert callable(request_of)
    decode(request_of(MOST_FILTERS))
    with pytest.raises(QuotaExceededError):
        decode(request_of(MOST_FILTERS + 1))


@pytest.mark.parametrize("request_of", [subscribe, unsubscribe])
def test_a_packet_full_of_filters_takes_no_more_than_its_own_size(request_of: object) -> None:
    assert callable(request_of)
    data = request_of(PACKET_BYTES // 5)
    tracemalloc.start()
    try:
        with pytest.raises(QuotaExceededError):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < PACKET_BYTES * 1.5
    finally:
        tracemalloc.stop()


def test_a_message_has_so_many_properties_and_no_more() -> None:
    for count, is_fine in ((MOST_PROPERTIES, True), (MOST_PROPERTIES + 1, False)):
        data = Publish("a", b"", properties={"user_property": [("", "")] * count}).encode(V5)
        if is_fine:
            decode(data)
        else:
            with pytest.raises(QuotaExceededError) as caught:
                decode(data)
            assert caught.value.reason_code is ReasonCode.QUOTA_EXCEEDED


def test_properties_have_so_many_bytes_and_no_more() -> None:
    longest = {"response_topic": "r" * 65_535, "content_type": "c" * 65_535, "correlation_data": b"d" * 65_000}
    assert decode(Publish("a", b"", properties=dict(longest)).encode(V5)) == Publish("a", b"", properties=longest)
    too_long = {**longest, "user_property": [("n" * 65_535, "")]}
    with pytest.raises(PacketTooLargeError):
        decode(Publish("a", b"", properties=too_long).encode(V5))


def test_a_connect_with_too_many_properties_is_told() -> None:
    connect = Connect(V5, "one", properties={"user_property": [("", "")] * (MOST_PROPERTIES + 1)})
    with pytest.raises(WireError) as caught:
        decode(connect.encode(V5))
    assert caught.value.connack[3] == ReasonCode.QUOTA_EXCEEDED


def test_what_was_accepted_once_is_read_back_however_much_it_is() -> None:
    properties = {"user_property": [("n" * 300, "v")] * (MOST_PROPERTIES + 1)}
    stored = encode_properties(properties)
    assert len(stored) > MOST_BYTES
    assert read_stored_properties(stored) == properties
    assert read_stored_properties(b"") == {}
    with pytest.raises(PacketTooLargeError):
        read_properties(stored, 0, len(stored), PacketType.PUBLISH)
