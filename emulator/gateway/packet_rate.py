"""A container's packet rate limit: a token bucket, one token a packet. Pure: the clock is the caller's.

The platform's older documentation: so many packets a second for each container, a burst of ten times that, and what
exceeds it is dropped. 1000 packets/s of 1500 bytes make 1.5 MB/s.
"""

from __future__ import annotations

PACKET_BYTES = 1500
BURST_OF_RATE = 10


def packets_of(byte_count: int) -> int:
    """Return how many packets carry that many bytes at least."""
    return -(-byte_count // PACKET_BYTES)


class PacketRate:
    """At most `burst` packets at once, and `rate` packets/s in the long run."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_s: float | None = None

    def admit(self, packets: int, now_s: float) -> int:
        """Return how many of `packets` pass at `now_s`; the others are dropped."""
        if self._filled_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate)
        self._filled_s = now_s
        admitted = min(packets, int(self._tokens))
        self._tokens -= admitted
        return admitted
