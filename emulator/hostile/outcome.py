"""What came of one scenario, and whether that is all right. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.hostile.latencies import Seen
from emulator.hostile.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

WORST_S, MEDIAN_S = 1.0, 0.1


@dataclass
class Outcome:
    """One scenario. `service` is "" when the broker did all afterwards; `not_run` says why it was not tried.

    `restart`: the same after the restart, None: there was none.
    """

    scenario: str
    memory_limit: int
    seconds: float = 0.0
    seen: Seen = field(default_factory=Seen)
    memory: Memory = field(default_factory=Memory)
    counts: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    service: str = ""
    restart: str | None = None
    not_run: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether nobody but the attacker noticed."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """What is not as it should be."""
        return [self.not_run] if self.not_run else list(self._reasons())

    def _reasons(self) -> Iterator[str]:
        seen, memory = self.seen, self.memory
        if not seen.latencies_s:
            yield "the bystander saw nothing"
        if seen.worst_s >= WORST_S:
            yield f"a bystander waited {seen.worst_s:.1f} s"
        if seen.median_s >= MEDIAN_S:
            yield f"bystanders waited {seen.median_s * 1000:.0f} ms (median)"
        if seen.unanswered:
            yield f"{seen.unanswered} unanswered"
        if seen.missing:
            yield f"{seen.missing} acknowledged, not delivered"
        if seen.cuts:
            yield f"bystander hit {len(seen.cuts)} times ({seen.cuts[0]})"
        if memory.peak is not None and memory.peak >= self.memory_limit:
            yield f"memory {mebibytes(memory.peak)}"
        if memory.ended:
            yield f"{memory.ended} processes ended"
        if memory.redis_peak is not None and memory.redis_maximum and memory.redis_peak > memory.redis_maximum:
            yield f"Redis {mebibytes(memory.redis_peak)} of {mebibytes(memory.redis_maximum)}"
        if self.service:
            yield f"service: {self.service}"
        if self.restart:
            yield f"after the restart: {self.restart}"


def mebibytes(number: int | None) -> str:
    """Return bytes for people."""
    return "-" if number is None else f"{number / 2**20:.0f} MiB"
