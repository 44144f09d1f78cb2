"""Whether the store refuses what this node writes (a replica, MISCONF, too few replicas): its state, and few log lines."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0


class StoreRefusal:
    """`reason`: the store's own words; empty while it accepts, or is not known to refuse."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self._monotonic = monotonic
        self._logged_s = float("-inf")
        self._was_logged = False

    def refused(self, error: Exception) -> None:
        """Note a refusal; log it where it begins, then once in LOG_INTERVAL_S."""
        is_new, self.reason = not self.reason, reason_of(error)
        now_s = self._monotonic()
        if now_s - self._logged_s < LOG_INTERVAL_S:
            return
        self._logged_s, self._was_logged = now_s, True
        log.warning(
            "The store %s: %s. Nothing is acknowledged until it accepts; trying again.",
            "does not accept what this node writes" if is_new else "still accepts nothing",
            self.reason,
        )

    def accepted(self) -> None:
        """Note that it has accepted; log that where the refusal was logged."""
        self.reason = ""
        if self._was_logged:
            self._was_logged = False
            log.info("The store accepts what this node writes.")


def reason_of(error: Exception) -> str:
    """Return what the store said, without where in a script it said so."""
    return str(error).partition(" script: ")[0].rstrip(".")
