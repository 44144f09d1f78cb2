"""What was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.measure import Measurement

RESULTS = Path(__file__).resolve().parent / "results"
COLUMN = 14

Rounds = dict[str, dict[str, list[float]]]
"""Measurement key -> broker name -> one figure a round."""


def table(measurements: list[Measurement], names: list[str], rounds: Rounds) -> str:
    """Return medians by broker, and how many times better the first broker is than each other."""
    width = max(len(each.title) + len(each.unit) + 3 for each in measurements)
    others = names[1:]
    lines = ["".ljust(width) + "".join(name.rjust(COLUMN) for name in [*names, *(f"/ {each}" for each in others)])]
    for each in measurements:
        medians = {name: median(values) for name, values in rounds[each.key].items() if values}
        cells = [_figure(medians.get(name)) for name in names]
        cells += [_ratio(each, medians.get(names[0]), medians.get(other)) for other in others]
        lines.append(f"{each.title} ({each.unit})".ljust(width) + "".join(cell.rjust(COLUMN) for cell in cells))
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _ratio(measurement: Measurement, ours: float | None, other: float | None) -> str:
    if not ours or not other:
        return "-"
    return f"{ours / other if measurement.is_more_better else other / ours:.2f}x"


def write(rounds: Rounds, seconds: float, failures: list[str]) -> Path:
    """Write every round, the commit and the machine to bench/results/ and return the file."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    found = {
        "at": now.isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "seconds_a_round": seconds,
        "rounds": rounds,
        "not_measured": failures,
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    return path


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=RESULTS, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()
