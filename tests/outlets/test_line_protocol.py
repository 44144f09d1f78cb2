"""Messages as lines, without a server; test_influxdb.py asks a real one what it makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.outlets.line_protocol import points, time_ns
from store.model import INDEX_BITS, Message, MessageId

RECEIVED_MS = 1_769_860_800_000


def line(payload: bytes, topic_name: str = "t", device_id: str = "d") -> str:
    message = Message(topic_name, "client", RECEIVED_MS, 0, payload)
    return b"".join(points("m", [(MessageId(RECEIVED_MS, 0), device_id, message)])).decode()


def fields(payload: bytes) -> str:
    head, tail = "m,device=d,topic=t ", f" {RECEIVED_MS}000000\n"
    written = line(payload)
    if not written:
        return ""
    assert written.startswith(head)
    assert written.endswith(tail)
    return written.removeprefix(head).removesuffix(tail)


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (b'{"t": 21}', "t=21.0"),
        (b'{"t": 21.5, "h": -0.5}', "t=21.5,h=-0.5"),
        (b'{"a": {"b": [1, true]}}', "a.b.0=1.0,a.b.1=true"),
        (b"21.5", "value=21.5"),
        (b'"on"', 'value="on"'),
        (b'{"on": false}', "on=false"),
        (b'{"n": 1e22, "m": 1e-7}', "n=1e+22,m=1e-07"),
        (b'{"n": 18446744073709551617}', "n=1.8446744073709552e+19"),
        (b'{"s": "a\\"b\\\\c, d=e"}', r's="a\"b\\c, d=e"'),
        (b'{"s": "a\\nb"}', 's="a\nb"'),
        (b'{"s": ""}', 's=""'),
        (b'{"a b,c=d": 1}', r"a\ b\,c\=d=1.0"),
        (b'{"a\\\\": 1}', "a/=1.0"),
        (b'{"\\\\ \\\\,": 1}', r"/\ /\,=1.0"),
        (b'{"a\\nb\\u0000": 1}', r"a\ b\ =1.0"),
        (b'{"#": 1}', "#=1.0"),
        (b'{"a.b": 1, "a": {"b": "x"}}', 'a.b="x"'),
        (b'{"a\\\\": "x", "a/": 1}', "a/=1.0"),
    ],
)
def test_scalars_become_fields(payload: bytes, written: str):
    assert fields(payload) == written


@pytest.mark.parametrize("name", ["time", "device", "topic", "_time", "__x"])
def test_a_name_that_influxdb_or_a_tag_has_is_told_apart(name: str):
    assert fields(b'{"%s": 1}' % name.encode()) == f"field_{name.lstrip('_')}=1.0"


@pytest.mark.parametrize(
    "payload",
    [b"", b"on", b"\xff\x00", b"{}", b"[]", b"null", b'{"a": null}', b'{"": 1}', b"1" * 400, b"1e999"],
)
def test_a_message_without_a_field_that_can_be_written_is_no_point(payload: bytes):
    assert fields(payload) == ""


def test_a_field_that_cannot_be_written_leaves_the_others():
    assert fields(b'{"": 1, "a": null, "b": %s, "c": 2}' % (b"1" * 400)) == "c=2.0"


def test_tags_are_escaped_bounded_and_left_out_when_empty():
    assert line(b"1", topic_name="a b,c=d\\", device_id="x\ny") == (
        rf"m,device=x\ y,topic=a\ b\,c\=d/ value=1.0 {RECEIVED_MS}000000" + "\n"
    )
    assert line(b"1", topic_name="", device_id="").startswith("m value=1.0 ")
    assert len(line(b"1", topic_name="ü" * 65_535)) < 1100


places = st.tuples(st.integers(-3, 12), st.integers(0, 6), st.integers(0, 8191))


@given(one=places, other=places)
def test_messages_of_one_millisecond_have_times_of_their_own_in_the_order_of_the_log(
    one: tuple[int, int, int], other: tuple[int, int, int]
):
    def of(place: tuple[int, int, int]) -> int:
        waited_ms, entry, index = place
        message_id = MessageId(RECEIVED_MS + waited_ms, (entry << INDEX_BITS) + index)
        return time_ns(message_id, Message("t", "c", RECEIVED_MS, 0, b"1"))

    assert (of(one) == of(other)) == (one == other)
    assert 0 <= of(one) - RECEIVED_MS * 1_000_000 < 1_000_000
    if min(one[0], other[0]) >= 0:
        assert (of(one) < of(other)) == (one < other)
