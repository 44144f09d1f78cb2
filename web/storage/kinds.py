"""Kinds of stored data in words: what each is, and which settings bound it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from settings import TABLE
from web.presentation import duration, number, size

if TYPE_CHECKING:
    from settings import Settings
    from store.capacity import Use

UNITS = {setting.name: setting.unit for setting in TABLE}


@dataclass(frozen=True)
class Kind:
    """What people call a kind of data, what its count counts, and the settings that bound it."""

    title: str
    counted: str
    settings: tuple[str, ...] = ()


KINDS = {
    "log": Kind("Ingest log", "entries", ("LOG_KEEP_BYTES", "LOG_MAX_BYTES")),
    "history": Kind("Recent history", "messages", ("HISTORY_AGE_S", "HISTORY_MESSAGES", "HISTORY_BYTES")),
    "rollups_m": Kind("Rollups by minute", "fields", ("ROLLUP_AGE_S",)),
    "rollups_h": Kind("Rollups by hour", "fields", ("HOUR_ROLLUP_AGE_S",)),
    "rollups_d": Kind("Rollups by day", "fields", ("DAY_ROLLUP_AGE_S",)),
    "devices": Kind("Devices and last values", "devices"),
    "retained": Kind("Retained messages", "messages", ("RETAINED_MESSAGES",)),
    "sessions": Kind("Sessions and their queues", "sessions", ("QUEUE_BYTES", "QUEUE_MESSAGES", "QUEUE_AGE_S", "MAX_SESSIONS")),
    "other": Kind("Everything else in Redis", ""),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table, and one piece of the bar from `start` on, both in thousandths of what the bar shows."""

    name: str
    kind: Kind
    use: Use
    bounds: list[tuple[str, str]]
    start: float
    width: float


def rows(uses: list[Use], settings: Settings, whole_bytes: int) -> list[Row]:
    """Return what the page shows of each kind; the bar is `whole_bytes` long."""
    found: list[Row] = []
    start = 0.0
    for use in uses:
        kind = KINDS[use.name]
        width = max(0.0, min(1000 * use.bytes / max(1, whole_bytes), 1000 - start))
        bounds = [(name, in_words(name, getattr(settings, name.lower()))) for name in kind.settings]
        found.append(Row(use.name, kind, use, bounds, round(start, 1), round(width, 1)))
        start += width
    return found


def in_words(name: str, value: int) -> str:
    """Return a setting's value as people say it: `7 d`, `4.0 MiB`, `10 000 messages`."""
    unit = UNITS[name]
    if unit == "s":
        return duration(value)
    return size(value) if unit == "bytes" else f"{number(value)} {unit}"
