"""How long a client is without a connection, and how much of that is its own pause before it tries again. Pure."""

from __future__ import annotations


class Absence:
    """One client's: from the end of an accepted connection to the CONNACK of the next."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._paused_s = 0.0

    def begin(self, now_s: float) -> None:
        """Note that the connection has ended."""
        self._since_s, self._paused_s = now_s, 0.0

    def pause(self, for_s: float) -> None:
        """Note that the client did not try for so long: its backoff, or no network."""
        self._paused_s += for_s

    def end(self, now_s: float) -> tuple[float, float]:
        """Return how many seconds it took, and how many of these the client was not pausing."""
        away_s = now_s - self._since_s
        return away_s, max(0.0, away_s - self._paused_s)
