"""What people and machines read of a run. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emulator.hostile.outcome import mebibytes
from emulator.hostile.scenarios import BY_NAME

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    from emulator.hostile.outcome import Outcome

MUCH = 1.5
NAME_WIDTH = max(map(len, BY_NAME))


def line(outcome: Outcome) -> str:
    """Return the verdict of one scenario in a line."""
    name, verdict = f"{outcome.scenario:<{NAME_WIDTH}}", "ok    " if outcome.is_ok else "FAILED"
    if outcome.not_run:
        return f"{name}  NOT RUN  {outcome.not_run}"
    seen, memory = outcome.seen, outcome.memory
    asked = "healthz" if BY_NAME[outcome.scenario].is_on_dashboard else "puback"
    parts = [
        f"peak {mebibytes(memory.peak):>8}",
        f"{asked} p50 {_milliseconds(seen.median_s)} worst {_milliseconds(seen.worst_s)}",
        f"service {'FAILED' if outcome.service else 'ok'}",
        f"before {mebibytes(memory.before)} after {mebibytes(memory.after)}",
    ]
    if outcome.restart is not None:
        parts.append(f"restart {'FAILED' if outcome.restart else 'ok'}")
    if memory.redis_peak is not None:
        parts.append(f"redis {mebibytes(memory.redis_peak)} of {mebibytes(memory.redis_maximum)}")
    return f"{name}  {verdict}  {'  '.join(parts)}"


def details(outcome: Outcome) -> list[str]:
    """Return what the attacker was answered, and what is not as it should be."""
    if outcome.not_run:
        return []
    lines = [
        f"    {outcome.seconds:.0f} s, {mebibytes(outcome.sent_bytes)} sent and read; answers: {_counted(outcome.counts)}"
    ]
    held = outcome.memory
    if held.before and held.after and held.after > MUCH * held.before:
        lines.append(f"    {held.after / held.before:.1f} x of its memory before is still held")
    return lines + [f"    ! {reason}" for reason in outcome.reasons]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of all verdicts, and how many are ok."""
    ok = sum(outcome.is_ok for outcome in outcomes)
    return "\n".join([*map(line, outcomes), f"{ok} of {len(outcomes)} ok"])


def scenario_list() -> str:
    """Return what `--list` prints."""
    return "\n".join(f"{each.name:<{NAME_WIDTH}}  {each.description} ({each.bound})" for each in BY_NAME.values())


def for_machines(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as JSON takes them."""
    return [_plain(outcome) for outcome in outcomes]


def _plain(outcome: Outcome) -> dict[str, Any]:
    seen = outcome.seen
    return {
        "scenario": outcome.scenario,
        "ok": outcome.is_ok,
        "reasons": outcome.reasons,
        "seconds": round(outcome.seconds, 1),
        "puback_median_s": round(seen.median_s, 4),
        "puback_worst_s": round(seen.worst_s, 4),
        "answered": len(seen.latencies_s) - seen.unanswered,
        "unanswered": seen.unanswered,
        "missing": seen.missing,
        "bystander_cuts": seen.cuts,
        "memory": asdict(outcome.memory),
        "answers": dict(outcome.counts),
        "service": outcome.service or "ok",
        "restart": outcome.restart if outcome.restart is None else outcome.restart or "ok",
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "none"
