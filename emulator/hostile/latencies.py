"""What a bystander saw. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass
class Seen:
    """Latencies of what was answered and, until the end, of what was not; `missing`: acknowledged, never received."""

    latencies_s: list[float] = field(default_factory=list)
    unanswered: int = 0
    missing: int = 0
    cuts: list[str] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """Median latency."""
        return median(self.latencies_s) if self.latencies_s else 0.0

    @property
    def worst_s(self) -> float:
        """Longest latency."""
        return max(self.latencies_s, default=0.0)
