"""A bystander of the dashboard: it asks /healthz on a steady beat, a connection each, as the platform's router does."""

from __future__ import annotations

import http.client
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from emulator.hostile.client import ServiceError
from emulator.hostile.latencies import Seen
from emulator.hostile.service import check_dashboard

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from emulator.hostile.target import Target

BEAT_S = 0.2
LONGEST_ANSWER_S = 5.0


class HealthzBystander:
    """Asks until its parent says something or has gone. Raises ServiceError when there is no answer at first."""

    def __init__(self, target: Target) -> None:
        self.seen = Seen()
        self._target = target
        if why := check_dashboard(target):
            raise ServiceError(why)

    def run(self, parent: Connection) -> None:
        """Ask until told to stop."""
        with suppress(EOFError):
            while not parent.poll(BEAT_S):
                began_s = time.monotonic()
                self._ask()
                self.seen.latencies_s.append(time.monotonic() - began_s)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(*self._target.dashboard, timeout=LONGEST_ANSWER_S)
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
            if status != 200:
                self.seen.cuts.append(f"/healthz: {status}")
        except (OSError, http.client.HTTPException):
            self.seen.unanswered += 1
        finally:
            connection.close()
