"""What a run of the gateway amounts to: counters, and a bounded record of its containers."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

OUT_OF_MEMORY = "OOM"  # the outcome of a container that was killed for its memory
RECORDS = 1000  # containers remembered; older ones stay in the counters


@dataclass(frozen=True)
class Ending:
    """How one container ended. Times are in seconds; None: never ready, or not told to leave.

    `peak_bytes`: the most that its processes held, None where nobody looked. The outcome OOM: it was killed for that.
    `at_s`: from the start of the run to its end.
    """

    label: str
    outcome: str
    ready_after_s: float | None
    left_after_s: float | None
    was_killed_late: bool
    peak_bytes: int | None = None
    at_s: float = 0.0


@dataclass
class Totals:
    """Counted since the start. `unanswered` connections got no container; the packets are of PACKET_BYTES."""

    connections: int = 0
    unanswered: int = 0
    abandoned: int = 0
    bytes_to_containers: int = 0
    bytes_to_clients: int = 0
    packets_over_rate: int = 0
    packets_for_gone: int = 0
    bytes_for_gone: int = 0
    containers: int = 0
    never_ready: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    endings: deque[Ending] = field(default_factory=lambda: deque(maxlen=RECORDS))
