"""The file an export goes to, and where one that was cut goes on: behind its last complete line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from store.export.csv_rows import RowWriter, unguarded
from store.export.ndjson import LineReader
from store.export.selection import Place
from store.model import MessageId

if TYPE_CHECKING:
    from store.export.formats import Format

_ROW_START = re.compile(rb'(?P<device>"(?:[^"]|"")*"|[^",]*),(?P<id>\d+-\d+),')


def resume(file: BinaryIO, name: Format) -> Place | None:
    """Cut off what stands behind the last complete line of an export and return that line's place; None: begin anew.

    Raises ValueError where the file is not an export of this format.
    """
    end, line = _last_line(file, is_csv=name == "csv")
    place = _place_of_row(line) if name == "csv" else _place_of_line(line)
    file.seek(0 if place is None else end)
    file.truncate()
    return place


def _last_line(file: BinaryIO, *, is_csv: bool) -> tuple[int, bytes]:
    """Return where the last complete line ends, and that line. In CSV a line break within quotes ends nothing."""
    line_end = b"\r\n" if is_csv else b"\n"
    end, last, parts, is_quoted = 0, b"", [], False
    for part in file:
        parts.append(part)
        is_quoted ^= is_csv and part.count(b'"') % 2 == 1
        if part.endswith(line_end) and not is_quoted:
            last, parts = b"".join(parts), []
            end += len(last)
    return end, last


def _place_of_line(line: bytes) -> Place | None:
    if not line:
        return None
    try:
        device_id, message_id, _ = LineReader().read(line)
    except (ValueError, msgspec.DecodeError) as error:
        raise ValueError(f"its last line is not one of an export: {error}") from None
    return Place(device_id, message_id)


def _place_of_row(line: bytes) -> Place | None:
    if line in (b"", RowWriter().head):
        return None
    found = _ROW_START.match(line)
    if found is None:
        raise ValueError("its last row is not one of an export")
    device_id = found["device"].decode()
    if device_id.startswith('"'):
        device_id = device_id[1:-1].replace('""', '"')
    return Place(unguarded(device_id), MessageId.parse(found["id"].decode()))
