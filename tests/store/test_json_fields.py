from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.json_fields import MAX_FIELDS, MAX_NESTING, MAX_PATH_LENGTH, fields_of, is_charted, storable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=100,
)


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (b'{"t": 21.5, "on": true, "s": "x", "n": null}', [("t", 21.5), ("on", True), ("s", "x"), ("n", None)]),
        (b'{"a": {"b": {"c": 1}}, "l": [1, {"d": 2}]}', [("a.b.c", 1), ("l.0", 1), ("l.1.d", 2)]),
        (b"21.5", [("value", 21.5)]),
        (b"[1, 2]", [("0", 1), ("1", 2)]),
        (b"{}", []),
        (b"", []),
        (b"not JSON", []),
        (b'"\xff"', []),
        (b"\x00\x01", []),
        (b"1e999", []),
        (b"[" * 100_000, []),
        (b'{"a": 1, "a": 2}', [("a", 2)]),
    ],
)
def test_fields_of(payload: bytes, fields: list[tuple[str, object]]) -> None:
    assert list(fields_of(payload)) == fields


def test_bounds_hold_and_the_first_fields_stay() -> None:
    many = json.dumps({f"f{n}": n for n in range(1000)}).encode()
    assert list(fields_of(many)) == [(f"f{n}", n) for n in range(MAX_FIELDS)]
    assert list(fields_of(json.dumps({"x" * (MAX_PATH_LENGTH + 1): 1, "y": 2}).encode())) == [("y", 2)]
    assert list(fields_of(b"[" * MAX_NESTING + b"1" + b"]" * MAX_NESTING))
    assert not list(fields_of(b"[" * (MAX_NESTING + 1) + b"1" + b"]" * (MAX_NESTING + 1)))
    assert not list(fields_of(b"[" + b"[]," * 5000 + b"1]"))


@pytest.mark.parametrize("value", [True, None, "1", math.nan, math.inf, -math.inf, 1e301, 10**400])
def test_not_charted(value: object) -> None:
    assert not is_charted(value)  # type: ignore[arg-type]


def test_huge_integers_are_storable() -> None:
    assert storable(1 << 64) == float(1 << 64)
    assert storable(10**400) == str(10**400)[:256]
    assert storable(-(1 << 63)) == -(1 << 63)


@given(JSON)
def test_any_json_gives_bounded_storable_fields(document: object) -> None:
    fields = list(fields_of(json.dumps(document).encode()))
    assert len(fields) <= MAX_FIELDS
    for path, value in fields:
        assert len(path) <= MAX_PATH_LENGTH
        assert len(msgspec.msgpack.encode(storable(value))) <= 4 * 256 + 5
        assert math.isfinite(float(value)) if is_charted(value) else True  # type: ignore[arg-type]


@given(st.binary(max_size=64))
def test_any_bytes_are_harmless(payload: bytes) -> None:
    list(fields_of(payload))
