"""How pages write times, sizes and counts: filters for the templates, and the times of the API.

Times come in as milliseconds since the epoch (UTC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.clock import wall_ms
from store.times import rfc3339
from web.payloads import preview

if TYPE_CHECKING:
    from flask import Flask

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def exact(ts_ms: int) -> str:
    """Write a time for people who ask for the exact one: `2026-01-31 12:00:00.000 UTC`."""
    return rfc3339(ts_ms).replace("T", " ").replace("Z", " UTC")


def ago(ts_ms: int) -> str:
    """Write how long ago a time was, as the script in `times.js` does: `now`, `12 s ago`, `3 min ago`, `2 d ago`."""
    elapsed_s = (wall_ms() - ts_ms) // 1000
    if elapsed_s < 1:
        return "now"
    for unit_s, name in _UNITS:
        if elapsed_s >= unit_s:
            return f"{elapsed_s // unit_s} {name} ago"
    return f"{elapsed_s} s ago"


def duration(seconds: int) -> str:
    """Write a length of time: `45 s`, `15 min`, `7 d`; of long ones only the largest unit."""
    for unit_s, name in _UNITS:
        if seconds >= unit_s:
            return f"{seconds // unit_s} {name}"
    return f"{seconds} s"


def size(count: int) -> str:
    """Write a number of bytes: `512 B`, `1.5 KiB`, `20 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def number(count: int) -> str:
    """Write a count with thin spaces between its thousands."""
    return f"{count:,}".replace(",", "\u202f")


def scalar(value: Any) -> str:
    """Write a scalar of JSON as a person reads it: `21.5`, `on`, `true`, `null`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def outlet_title(name: str) -> str:
    """Write an outlet's name as people know it."""
    return {"mongodb": "MongoDB", "influxdb": "InfluxDB"}.get(name, name)


def register(app: Flask) -> None:
    """Offer these to the templates of `app`."""
    for name in (rfc3339, exact, ago, duration, size, number, scalar, preview, outlet_title):
        app.add_template_filter(name)
    app.add_template_global(wall_ms, "now_ms")
