"""How many connections the system's limit of open files allows: refused before it is reached, since much else needs files.

At the limit nothing can be opened: no connection to the store, no file of the system. The event loop would drop connections
without a word. The limit is looked at while the process runs, as operators can change it then.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

RESERVED = 64
"""For the store, the log, plugins and what the process opens for a moment."""
LOG_INTERVAL_S = 60.0


class DescriptorLimit:
    """Bounds the connections; `refused` counts those that did not fit."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._logged_s = float("-inf")
        self.refused = 0

    def allow(self, connections: int) -> None:
        """Raise the process's own limit as far as so many connections need it and the system lets it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = connections + RESERVED
        if soft != resource.RLIM_INFINITY and soft < wanted:
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))

    def admits(self, connections: int) -> bool:
        """Tell whether so many connections may be open."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or connections <= max(soft - RESERVED, soft // 2):
            return True
        self.refused += 1
        now_s = self._monotonic()
        if now_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now_s
            log.warning(
                "The limit of %d open files allows no more than %d connections: further ones are closed at once "
                "(%d so far). Raise it (ulimit -n).",
                soft,
                connections - 1,
                self.refused,
            )
        return False
