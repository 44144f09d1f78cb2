"""Reports what the bounds of this process refuse: in `$SYS`, in the heartbeat, and in one log line a minute at most."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.accounts import Account

log = logging.getLogger(__name__)

CHECK_S = 1.0
LOG_INTERVAL_S = 60.0
MIB = 1024 * 1024


class Use(NamedTuple):
    """How often a bound has refused since the process started, and what is taken of how many bytes."""

    refused: int
    used_bytes: int
    limit_bytes: int


class Bound(NamedTuple):
    """A bound that clients can cross; a larger `setting` raises it."""

    name: str
    setting: str
    use: Callable[[], Use]

    @classmethod
    def of(cls, account: Account, setting: str = "CONTAINER_MEMORY") -> Bound:
        """Return an account's bound: a share of the container's memory, or what a setting says."""
        return cls(account.name, setting, lambda: Use(account.refused, account.used_bytes, account.limit_bytes))


class Bounds:
    """All bounds of a process."""

    def __init__(self, bounds: Iterable[Bound]) -> None:
        self._bounds = tuple(bounds)
        self._logged_refused = dict.fromkeys((each.name for each in self._bounds), 0)

    def sys_values(self) -> dict[str, int]:
        """Return the values under `$SYS/broker/`."""
        values: dict[str, int] = {}
        for name, _, use in self._bounds:
            refused, used_bytes, limit_bytes = use()
            values |= {f"bounds/{name}/refused": refused, f"bounds/{name}/used": used_bytes}
            values[f"bounds/{name}/maximum"] = limit_bytes
        return values

    def node_values(self) -> dict[str, int]:
        """Return the values of the heartbeat."""
        values: dict[str, int] = {}
        for name, _, use in self._bounds:
            refused, used_bytes, limit_bytes = use()
            values |= {f"{name}_refused": refused, f"{name}_bytes": used_bytes, f"{name}_limit_bytes": limit_bytes}
        return values

    async def run(self) -> None:
        """Log until cancelled which bounds were crossed: soon after the first time, then once in LOG_INTERVAL_S."""
        while True:
            if line := self._line():
                log.warning("%s", line)
            await asyncio.sleep(LOG_INTERVAL_S if line else CHECK_S)

    def _line(self) -> str:
        """Return what was refused since the last line; empty where nothing was."""
        crossed: list[str] = []
        for name, setting, use in self._bounds:
            refused, used_bytes, limit_bytes = use()
            times, self._logged_refused[name] = refused - self._logged_refused[name], refused
            if times:
                used = f"{used_bytes / MIB:.1f} of {limit_bytes / MIB:.1f} MiB used"
                crossed.append(f"{name} {times} times ({used}; a larger {setting} raises it)")
        return f"Bounds crossed since the last such line: {', '.join(crossed)}. See docs/limits.md." if crossed else ""
