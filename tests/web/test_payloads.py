"""Payloads as text, JSON, hexadecimal and base64."""

from __future__ import annotations

import pytest

from web import payloads

LONG = b"x" * (payloads.SHOWN_TEXT_BYTES + 1)


@pytest.mark.parametrize(
    ("payload", "shape"),
    [
        (b"", {"text": ""}),
        (b"on", {"text": "on"}),
        ("21 °C".encode(), {"text": "21 °C"}),
        (b'{"t": 1.5}', {"text": '{"t": 1.5}', "json": {"t": 1.5}}),
        (b"null", {"text": "null", "json": None}),
        (b"NaN", {"text": "NaN"}),
        (b"\xff\x00", {"base64": "/wA="}),
        (b'"\xff"', {"base64": "Iv8i"}),
    ],
)
def test_payload_for_the_api(payload: bytes, shape: dict[str, object]):
    assert payloads.for_api(payload) == shape


def test_deeply_nested_json_is_text():
    assert "json" not in payloads.for_api(b"[" * 100_000)


@pytest.mark.parametrize(
    ("payload", "view", "shown", "content"),
    [
        (b'{"t":1}', "json", "json", '{\n  "t": 1\n}'),
        (b'{"t":1}', "text", "text", '{"t":1}'),
        (b"plain", "json", "text", "plain"),
        (b"\xff", "text", "hex", "00000000  ff                                               ."),
        (b"AB", "hex", "hex", "00000000  41 42                                            AB"),
    ],
)
def test_view_that_is_possible(payload: bytes, view: str, shown: str, content: str):
    found = payloads.show(payload, view)
    assert (found.view, found.content, found.is_truncated) == (shown, content, False)


@pytest.mark.parametrize(("view", "limit"), [("json", payloads.SHOWN_TEXT_BYTES), ("hex", payloads.SHOWN_HEX_BYTES)])
def test_long_payload_is_cut_and_says_so(view: str, limit: int):
    found = payloads.show(LONG, view)
    assert found.is_truncated
    assert (found.shown_bytes, found.total_bytes) == (limit, len(LONG))


def test_preview_is_one_printable_line():
    assert payloads.preview(b'{\n  "t": 1\n}') == '{ "t": 1 }'
    assert payloads.preview(b"\x01\x02") == "01 02"
    assert payloads.preview("é".encode() * 5000).endswith("é…")
    assert payloads.preview(b"") == ""


def test_head_of_text_ends_with_a_whole_character():
    assert payloads.head_of("aé".encode(), 2) == b"a"
    assert payloads.head_of(b"\xff\xfe\xfd", 2) == b"\xff\xfe"
    assert payloads.head_of(b"abc", 3) == b"abc"
