"""Find the values in a payload: its scalar JSON fields, each with a dotted path. Pure.

A payload is a client's: whatever it holds, the work and the answer are bounded, and nothing is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Scalar = str | int | float | bool | None
    Field = tuple[str, Scalar]

MAX_DOCUMENT_BYTES = 128 * 1024  # a document takes up to thirty times its size while it is decoded
MAX_FIELDS = 64  # of one payload: its first ones, as they stand in it
MAX_PATH_LENGTH = 128
MAX_NESTING = 8
MAX_STRING_LENGTH = 256
MAX_VISITED = 1024  # values looked at in one payload, containers too
CHARTED_LIMIT = 1e300  # of a number: sums of a minute stay finite
BARE_FIELD = "value"

_decode = msgspec.json.Decoder().decode
_CONTAINERS = (dict, list)


def fields_of(payload: bytes) -> Iterable[Field]:
    """Return path and value of each scalar in a JSON payload; nothing if it is not JSON.

    Objects and lists are followed (`a.b`, `a.0`); a payload that is one scalar has the path BARE_FIELD. Longer paths
    than MAX_PATH_LENGTH, deeper ones than MAX_NESTING and all after the first MAX_FIELDS are left out. A payload of more than
    MAX_DOCUMENT_BYTES has none.
    """
    if len(payload) > MAX_DOCUMENT_BYTES:
        return ()
    try:
        document = _decode(payload)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        return ()
    if type(document) is dict and _is_flat(document):
        items: Iterable[Field] = document.items()
        return items
    return list(_walk(document))


def is_charted(value: Scalar) -> bool:
    """Whether a value goes into rollups: a finite number, not a boolean."""
    kind = type(value)
    return (kind is float or kind is int) and -CHARTED_LIMIT <= value <= CHARTED_LIMIT  # type: ignore[operator]


def storable(value: Scalar) -> Scalar:
    """Return a value as it can be stored: a string is cut, an integer beyond 64 bits becomes a float or a string."""
    if isinstance(value, str):
        return value[:MAX_STRING_LENGTH]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return float(value) if is_charted(value) else str(value)[:MAX_STRING_LENGTH]
    return value


def _is_flat(document: dict[str, Any]) -> bool:
    if len(document) > MAX_FIELDS:
        return False
    for path, value in document.items():  # noqa: SIM110  a generator would cost more than the loop
        if type(value) in _CONTAINERS or len(path) > MAX_PATH_LENGTH:
            return False
    return True


def _walk(document: Any) -> Iterator[Field]:
    """Yield the scalars in the order of the document, without recursion, until a bound is met."""
    if type(document) not in _CONTAINERS:
        yield BARE_FIELD, document
        return
    stack = [("", _members(document))]
    found = 0
    for _ in range(MAX_VISITED):
        prefix, members = stack[-1]
        member = next(members, None)
        if member is None:
            stack.pop()
            if not stack:
                return
            continue
        path, value = prefix + member[0], member[1]
        if len(path) > MAX_PATH_LENGTH:
            continue
        if type(value) not in _CONTAINERS:
            yield path, value
            found += 1
            if found == MAX_FIELDS:
                return
        elif len(stack) < MAX_NESTING:
            stack.append((path + ".", _members(value)))


def _members(container: Any) -> Iterator[tuple[str, Any]]:
    if type(container) is dict:
        return iter(container.items())
    return ((str(index), value) for index, value in enumerate(container))
