"""What was sent and what came of it: counters and a latency histogram. Bounded memory for runs without an end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

GROWTH = 1.02  # each bucket is 2 % wider than the one before, so a quantile is at most 2 % too high
SMALLEST_MS = 0.01


class LatencyHistogram:
    """Times in buckets that grow by a constant factor; the maximum is kept exactly."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.max_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one time."""
        self._buckets[math.ceil(math.log(max(ms, SMALLEST_MS) / SMALLEST_MS, GROWTH))] += 1
        self.count += 1
        self.max_ms = max(self.max_ms, ms)

    def quantile_ms(self, share: float) -> float:
        """Return the time that `share` (0 to 1) of all times do not exceed; 0 when there are none."""
        wanted = math.ceil(share * self.count)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.max_ms, SMALLEST_MS * GROWTH**bucket)
        return 0.0


@dataclass
class Totals:
    """What the whole fleet did. A message at QoS 0 is sent and never `awaited`.

    `connected_first`: publishers with a connection when all had tried, which took `connecting_s`.
    `skipped`: readings not taken, because the device was not connected or its window was full, and its buffer too.
    `forwarded`: messages that were kept until the connection was back.
    `refused`: answered by the broker with a reason code of failure (MQTT 5).
    `sessions_lost`: sessions that should have outlived their connection, and were not there any more.
    `away`: how long clients were without a connection; `beyond_backoff`: what of it they did not wait by themselves.
    """

    connected_first: int = 0
    connecting_s: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    awaited: int = 0
    skipped: int = 0
    forwarded: int = 0
    reconnects: int = 0
    sessions_lost: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    away: LatencyHistogram = field(default_factory=LatencyHistogram)
    beyond_backoff: LatencyHistogram = field(default_factory=LatencyHistogram)

    def note_start(self, connected: int, connecting_s: float) -> None:
        """Note how many publishers have a connection now that all have tried."""
        self.connected_first, self.connecting_s = connected, connecting_s

    def note_sent(self, *, is_awaited: bool) -> None:
        """Count a message that was handed to the network."""
        self.sent += 1
        self.awaited += is_awaited

    def note_answer(self, latency_ms: float, *, is_failure: bool) -> None:
        """Count the broker's final answer (PUBACK or PUBCOMP) to an awaited message."""
        self.awaited -= 1
        if is_failure:
            self.refused += 1
            return
        self.acknowledged += 1
        self.latency.add(latency_ms)

    def note_return(self, away_s: float, beyond_backoff_s: float) -> None:
        """Count a client that is back."""
        self.reconnects += 1
        self.away.add(away_s * 1000)
        self.beyond_backoff.add(beyond_backoff_s * 1000)

    @property
    def is_settled(self) -> bool:
        """Whether every message that should have been acknowledged was."""
        return self.awaited == 0 and self.refused == 0
