"""Messages as CSV (RFC 4180, UTF-8, a header, CRLF): for spreadsheets and tables. Pure.

`payload` is text where `encoding` says `text`, else base64. CSV does not hold everything: what is to be imported again is
exported as NDJSON.

A spreadsheet takes a cell that begins with = + - @ for a formula and carries it out, and anybody who may publish chooses
names and payloads. Such a cell, unless it is a plain number, gets an apostrophe in front; so does one that begins with an
apostrophe. Whoever wants the value as it was takes one leading apostrophe off.
"""

from __future__ import annotations

import binascii
import csv
import io
import re
from typing import TYPE_CHECKING

from store.model import QOS_MASK, RETAIN_FLAG, Message, MessageId
from store.times import SecondsCache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.export.ndjson import Found

COLUMNS = ("device", "id", "ts", "topic", "qos", "retain", "client", "payload", "encoding")
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


class RowWriter:
    """Turns messages into rows."""

    def __init__(self) -> None:
        self._times = SecondsCache()

    @property
    def head(self) -> bytes:
        """The row of names."""
        return _encode([COLUMNS])

    def lines(self, found: Iterable[Found]) -> bytes:
        """Return one row for each message, each with its end."""
        return _encode(self._row(*each) for each in found)

    def _row(self, device_id: str, message_id: MessageId, message: Message) -> tuple[str, ...]:
        payload, encoding = _payload(message.payload)
        return (
            guarded(device_id),
            f"{message_id[0]}-{message_id[1]}",
            self._times.write(message.received_ms),
            guarded(message.topic_name),
            str(message.flags & QOS_MASK),
            "true" if message.flags & RETAIN_FLAG else "false",
            guarded(message.client_id),
            guarded(payload),
            encoding,
        )


def guarded(text: str) -> str:
    """Return a cell that no spreadsheet carries out."""
    return f"'{text}" if text.startswith(_GUARDED) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """Return what `guarded` was given."""
    return cell.removeprefix("'")


def _payload(payload: bytes) -> tuple[str, str]:
    try:
        return payload.decode(), "text"
    except UnicodeDecodeError:
        return binascii.b2a_base64(payload, newline=False).decode(), "base64"


def _encode(rows: Iterable[tuple[str, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
