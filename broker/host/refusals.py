"""Refused credentials: counted, logged once a minute, and answered the later the more often they come.

    delay = what is above FREE refusals, at a rate of so many a second; for the user name, and for all together

Whether credentials are right is found out at once, and right ones never wait: nobody locks another out. Addresses say nothing:
behind the platform's gateway all clients have the same one. The refusals that wait are bounded; one more gets no answer,
its connection is closed. Plain: no I/O, time is given.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.accounts import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

FREE_PER_NAME, PER_NAME_S = 5, 2.0
FREE_IN_ALL, IN_ALL_S = 50, 20.0
LONGEST_DELAY_S = 5.0
MOST_WAITING = 256
NAMES_BYTES = 256 * 1024
ENTRY_BYTES = 300  # a rate and its place in the table, besides the name
CHECK_S, LOG_INTERVAL_S = 1.0, 60.0
LOGGED_NAMES, LOGGED_CHARACTERS = 3, 40


class _Rate:
    """How many refusals are above what `per_s` takes away, and how many there were since the last log line."""

    __slots__ = ("_at", "_free", "_level", "_per_s", "count")

    def __init__(self, free: int, per_s: float) -> None:
        self._free = free
        self._per_s = per_s
        self._level = 0.0
        self._at = 0.0
        self.count = 0

    def add(self, now: float) -> float:
        """Count one more; return the delay that follows (s)."""
        self._level = min(self._left(now) + 1, self._free + LONGEST_DELAY_S * self._per_s)
        self._at = now
        self.count += 1
        return max(0.0, self._level - self._free) / self._per_s

    def is_over(self, now: float) -> bool:
        """Whether the next refusal will be delayed."""
        return self._left(now) >= self._free

    def _left(self, now: float) -> float:
        return max(0.0, self._level - (now - self._at) * self._per_s)


class Refusals:
    """The refused credentials of one process. `waiting`: refusals that are decided and not answered yet."""

    def __init__(self, connect_timeout_s: float) -> None:
        self._longest_s = min(LONGEST_DELAY_S, connect_timeout_s / 2)
        self._names: BoundedCache[str, _Rate] = BoundedCache(NAMES_BYTES)
        self._all = _Rate(FREE_IN_ALL, IN_ALL_S)
        self.waiting = 0
        self.counts = {"bad_user_name_or_password": 0, "not_authorized": 0, "unanswered": 0}

    def refuse(self, username: str | None, now: float) -> float | None:
        """Count a refusal; return after how many seconds it is to be answered, None for not at all: close."""
        self.counts["not_authorized" if username is None else "bad_user_name_or_password"] += 1
        delay_s = min(self._longest_s, max(self._rate_of(username).add(now), self._all.add(now)))
        return None if delay_s and self.waiting >= MOST_WAITING else delay_s

    @contextmanager
    def waits(self) -> Iterator[None]:
        """Count a refusal among those that wait."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def closed_unanswered(self) -> None:
        """Count a connection that was closed without an answer: too many wait for theirs."""
        self.counts["unanswered"] += 1

    def is_failing(self, username: str | None, now: float) -> bool:
        """Whether a user name is being refused more often than a few times a second."""
        rate = self._names.entries.get(_shown(username))
        return rate is not None and rate.is_over(now)

    def is_storm(self, now: float) -> bool:
        """Whether credentials are refused that often, over all user names."""
        return self._all.is_over(now)

    @property
    def total(self) -> int:
        """How many there were since the process started."""
        return self.counts["bad_user_name_or_password"] + self.counts["not_authorized"]

    def _rate_of(self, username: str | None) -> _Rate:
        name = _shown(username)
        rate = self._names.entries.get(name)
        if rate is None:
            rate = _Rate(FREE_PER_NAME, PER_NAME_S)
            self._names.put(name, rate, len(name.encode()) + ENTRY_BYTES)
        return rate

    # --- what an operator sees

    def sys_values(self) -> dict[str, int]:
        """Return the values under `$SYS/broker/`: refused in all, by reason, and how many got no answer."""
        by_reason = {f"credentials/refused/{name}": count for name, count in self.counts.items()}
        return {"credentials/refused": self.total, "credentials/waiting": self.waiting, **by_reason}

    def node_values(self) -> dict[str, int]:
        """Return the values of the heartbeat."""
        by_reason = {f"credentials_{name}": count for name, count in self.counts.items()}
        return {"credentials_refused": self.total, **by_reason}

    async def run(self) -> None:
        """Log until cancelled what was refused: soon after the first time, then once in LOG_INTERVAL_S."""
        while True:
            if line := self.line():
                log.warning("%s", line)
            await asyncio.sleep(LOG_INTERVAL_S if line else CHECK_S)

    def line(self) -> str:
        """Return what was refused since the last line; empty where nothing was."""
        count, self._all.count = self._all.count, 0
        if not count:
            return ""
        tried = [(rate.count, name) for name, rate in self._names.entries.items() if rate.count]
        for rate in self._names.entries.values():
            rate.count = 0
        most = ", ".join(f"{name} ({times})" for times, name in sorted(tried, reverse=True)[:LOGGED_NAMES])
        return f"Credentials refused since the last such line: {count}. User names tried most: {most or 'not known'}."


def _shown(username: str | None) -> str:
    """Return a user name as it may be logged: short, quoted, printable."""
    if username is None:
        return "none at all"
    shortened = username if len(username) <= LOGGED_CHARACTERS else username[:LOGGED_CHARACTERS] + "…"
    return '"' + "".join(each if each.isprintable() and each != '"' else "?" for each in shortened) + '"'
