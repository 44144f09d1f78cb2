"""What people read while the fleet runs, and at its end. Pure: numbers in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.fleet.totals import LatencyHistogram, Totals


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `rate` is the messages sent per second since the line before."""

    elapsed_s: float
    connected: int
    devices: int
    rate: float


def progress_line(progress: Progress, totals: Totals) -> str:
    """Return one line without its end."""
    minutes, seconds = divmod(int(progress.elapsed_s), 60)
    return (
        f"{minutes:02}:{seconds:02}  {progress.connected}/{progress.devices} connected  "
        f"{totals.sent:,} sent ({progress.rate:,.0f}/s)  {totals.acknowledged:,} acknowledged  "
        f"{totals.skipped:,} skipped  {totals.reconnects:,} reconnects"
    )


def summary(totals: Totals, elapsed_s: float) -> str:
    """Return the closing lines: what was sent, what was acknowledged, and how long that took."""
    rate = totals.sent / elapsed_s if elapsed_s else 0.0
    has_answers = totals.acknowledged or totals.awaited or totals.refused
    lines = [
        f"connected       {totals.connected_first:,} in {totals.connecting_s:.1f} s",
        f"sent            {totals.sent:,} messages in {elapsed_s:.1f} s ({rate:,.1f}/s)",
        f"acknowledged    {totals.acknowledged:,}"
        if has_answers
        else "acknowledged    none: QoS 0 has no acknowledgements",
        f"skipped         {totals.skipped:,}",
        f"reconnects      {totals.reconnects:,}",
    ]
    if totals.forwarded:
        lines.append(f"forwarded       {totals.forwarded:,} that were kept until they could be sent")
    if totals.latency.count:
        lines.append(f"latency (ms)    {_quantiles(totals.latency)}")
    if totals.away.count:
        lines.append(f"away (ms)       {_quantiles(totals.away)}")
        lines.append(f"beyond backoff  {_quantiles(totals.beyond_backoff)}")
    if not totals.is_settled:
        lines.append(f"NOT acknowledged: {totals.awaited:,} without an answer, {totals.refused:,} refused")
    if totals.sessions_lost:
        lines.append(f"LOST SESSIONS:    {totals.sessions_lost:,} were not there any more at a reconnect")
    return "\n".join(lines)


def _quantiles(times: LatencyHistogram) -> str:
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    shown = [f"{name} {times.quantile_ms(share):.1f}" for name, share in quantiles.items()]
    return "  ".join([*shown, f"max {times.max_ms:.1f}"])
