"""What people read while the fleet runs, and at its end. Pure: numbers in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.fleet.ledger import Ledger


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `rate` is the messages sent per second since the line before."""

    elapsed_s: float
    connected: int
    devices: int
    rate: float


def progress_line(progress: Progress, ledger: Ledger) -> str:
    """Return one line without its end."""
    minutes, seconds = divmod(int(progress.elapsed_s), 60)
    return (
        f"{minutes:02}:{seconds:02}  {progress.connected}/{progress.devices} connected  "
        f"{ledger.sent:,} sent ({progress.rate:,.0f}/s)  {ledger.acknowledged:,} acknowledged  "
        f"{ledger.skipped:,} skipped  {ledger.reconnects:,} reconnects"
    )


def summary(ledger: Ledger, elapsed_s: float, qos: int) -> str:
    """Return the closing lines: what was sent, what was acknowledged, and how long that took."""
    rate = ledger.sent / elapsed_s if elapsed_s else 0.0
    lines = [
        f"sent            {ledger.sent:,} messages in {elapsed_s:.1f} s ({rate:,.1f}/s)",
        f"acknowledged    {ledger.acknowledged:,}" if qos else "acknowledged    none: QoS 0 has no acknowledgements",
        f"skipped         {ledger.skipped:,}",
        f"reconnects      {ledger.reconnects:,}",
    ]
    if ledger.latency.count:
        lines.append(f"latency (ms)    {_latency(ledger)}")
    if not ledger.is_settled:
        lines.append(f"NOT acknowledged: {ledger.awaited:,} without an answer, {ledger.refused:,} refused")
    return "\n".join(lines)


def _latency(ledger: Ledger) -> str:
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    shown = [f"{name} {ledger.latency.quantile_ms(share):.1f}" for name, share in quantiles.items()]
    return "  ".join([*shown, f"max {ledger.latency.max_ms:.1f}"])
