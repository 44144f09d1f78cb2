"""Parameters of the API, read from the query: a value that cannot be used is answered with what to do instead."""

from __future__ import annotations

from typing import TypeVar

from flask import request

from store.model import START, MessageId
from store.scan import LAST_ID
from store.times import parse_time_ms
from web.errors import ApiError
from web.live.selection import Selection

T = TypeVar("T")


def bad(message: str) -> ApiError:
    """Return a 400 that says what to do."""
    return ApiError(400, "bad_request", message)


def whole_number(name: str, default: int, maximum: int) -> int:
    """Return a number from 1 to `maximum`. Raises ApiError: 400."""
    text = request.args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= maximum):
        raise bad(f"{name} has to be a whole number from 1 to {maximum}.")
    return int(text)


def choice(name: str, choices: tuple[str, ...], default: str | None = None) -> str | None:
    """Return one of `choices`. Raises ApiError: 400."""
    text = request.args.get(name, "")
    if text and text not in choices:
        raise bad(f"{name} has to be one of {', '.join(choices)}; leave it out for {default or 'all'}.")
    return text or default


def time_ms(name: str, default: T) -> int | T:
    """Return a time in ms: RFC 3339 or ms since the epoch. Raises ApiError: 400."""
    text = request.args.get(name, "")
    if not text:
        return default
    found = _time_ms(text)
    if found is None:
        raise bad(f"{name} has to be a time as in 2026-01-31T12:00:00.000Z, or milliseconds since the epoch.")
    return found


def end_ms(name: str, default: T) -> int | T:
    """Return a time before which something can be. Raises ApiError: 400."""
    found = time_ms(name, default)
    if found == 0:
        raise bad(f"{name} has to be later than 1970-01-01T00:00:00Z: nothing is before that.")
    return found


def require_order(from_ms: int | None, to_ms: int | None) -> None:
    """Raise ApiError, 400, unless a time is before another one, where both are given."""
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise bad("from has to be before to.")


def position(name: str) -> MessageId | None:
    """Return a place in the log: a message id, or the time where it lies. Raises ApiError: 400."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        found = MessageId.parse(text)
    except ValueError:
        ms = _time_ms(text)
        if ms is None:
            sample = "a message id as in 1769860800000-0, or a time as in 2026-01-31T12:00:00.000Z"
            raise bad(f"{name} has to be {sample}.") from None
        found = MessageId(ms, 0)
    return min(found, LAST_ID)


def end_position(name: str) -> MessageId | None:
    """Return a place in the log before which something can be. Raises ApiError: 400."""
    found = position(name)
    if found == START:
        raise bad(f"{name} has to be later than {START}: nothing is before that.")
    return found


def refuse_repeated(*repeatable: str) -> None:
    """Raise ApiError, 400, where a parameter is given more than once that is not one of these."""
    for name, values in request.args.lists():
        if len(values) > 1 and name not in repeatable:
            raise bad(f"{name} is given more than once.")


def selection() -> Selection:
    """Return which messages a listener wants. Raises ApiError: 400."""
    try:
        return Selection(request.args.get("device", ""), request.args.get("topic", ""))
    except ValueError as error:
        raise bad(f"topic has to be a topic filter: {error}.") from None


def _time_ms(text: str) -> int | None:
    try:
        return parse_time_ms(text.replace(" ", "+"))  # an unescaped + arrives as a space
    except ValueError:
        return None
