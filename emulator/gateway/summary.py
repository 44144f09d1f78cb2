"""What people read at the end. Pure: numbers in, text out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from emulator.gateway.totals import OUT_OF_MEMORY
from emulator.process_memory import mebibytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.gateway.totals import Ending, Totals

SHOWN_ENDINGS = 20


def summary(totals: Totals, elapsed_s: float) -> str:
    """Return the closing lines: what passed, what was dropped, what was done, and how each container ended."""
    return "\n".join([*_traffic_lines(totals, elapsed_s), *_container_lines(totals)])


def _traffic_lines(totals: Totals, elapsed_s: float) -> list[str]:
    hanging = f"{totals.unanswered:,} without a container, {totals.abandoned:,} left hanging"
    gone = f"{totals.packets_for_gone:,} ({totals.bytes_for_gone:,} bytes) for containers that were gone"
    return [
        f"connections     {totals.connections:,} in {elapsed_s:.1f} s, {hanging}",
        f"bytes           {totals.bytes_to_containers:,} to containers, {totals.bytes_to_clients:,} to clients",
        f"packets dropped {totals.packets_over_rate:,} over the rate limit, {gone}",
    ]


def _container_lines(totals: Totals) -> list[str]:
    endings = list(totals.endings)
    outcomes = Counter(ending.outcome for ending in endings)
    late = sum(ending.was_killed_late for ending in endings)
    ready = _span(ending.ready_after_s for ending in endings)
    left = _span(ending.left_after_s for ending in endings)
    failed = f"; failed: {_counted(totals.failed)}" if totals.failed else ""
    return [
        f"actions         {_counted(totals.done)}{failed}",
        f"containers      {totals.containers:,} started, {totals.never_ready:,} never ready; ready after {ready}",
        f"ended           {_counted(outcomes)}; after SIGTERM within {left}, {late:,} needed SIGKILL",
        *map(_ending_line, endings[-SHOWN_ENDINGS:]),
    ]


def _span(seconds: Iterable[float | None]) -> str:
    known = sorted(value for value in seconds if value is not None)
    return f"{known[len(known) // 2]:.2f} s (longest {known[-1]:.2f})" if known else "-"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counter.most_common()) or "none"


def _ending_line(ending: Ending) -> str:
    ready = "never ready" if ending.ready_after_s is None else f"ready after {ending.ready_after_s:.2f} s"
    left = "" if ending.left_after_s is None else f", {ending.left_after_s:.2f} s after SIGTERM"
    peak = "" if ending.peak_bytes is None else f", held at most {mebibytes(ending.peak_bytes)}"
    when = f" at {ending.at_s:.1f} s" if ending.outcome == OUT_OF_MEMORY else ""
    return f"  {ending.label:<14}{ready}, ended with {ending.outcome}{when}{left}{peak}"
