"""Times as text, in one form wherever they leave the application: RFC 3339, UTC, milliseconds. Pure.

Times are milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999


def rfc3339(ts_ms: int) -> str:
    """Write a time as `2026-01-31T12:00:00.000Z`."""
    return (EPOCH + timedelta(milliseconds=ts_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time_ms(text: str) -> int:
    """Read a time: RFC 3339 with its offset, or milliseconds since the epoch. Raises ValueError for anything else."""
    if text.isascii() and text.isdigit() and len(text) < 16:
        ms = int(text)
    else:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} does not say in which time zone it is")
        ms = (moment - EPOCH) // timedelta(milliseconds=1)
    if ms > MAX_TIME_MS:
        raise ValueError(f"{text!r} is later than the year 9999")
    return max(0, ms)


class SecondsCache:
    """`rfc3339` and back for long runs of times that are close to one another: a tenth of the cost of a message's line."""

    def __init__(self) -> None:
        self._written_s = -1
        self._written = ""
        self._read = ""
        self._read_ms = 0

    def write(self, ts_ms: int) -> str:
        """Return what `rfc3339` does."""
        seconds, ms = divmod(ts_ms, 1000)
        if seconds != self._written_s:
            self._written_s, self._written = seconds, rfc3339(seconds * 1000)[:19]
        return f"{self._written}.{ms:03d}Z"

    def read(self, text: str) -> int:
        """Return what `parse_time_ms` does for RFC 3339. Raises ValueError."""
        head, fraction = text[:20], text[20:23]
        if len(text) != 24 or text[23] != "Z" or head[-1] != "." or not (fraction.isascii() and fraction.isdigit()):
            if text.isdigit():
                raise ValueError(f"{text!r} is not a time as in 2026-01-31T12:00:00.000Z")
            return parse_time_ms(text)
        if head != self._read:
            self._read_ms, self._read = parse_time_ms(f"{head[:19]}Z"), head
        return self._read_ms + int(fraction)
