"""Children that end when their parent does, however it ended (Linux: prctl(2), PR_SET_PDEATHSIG)."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def signal_on_parent_death(signal_number: int) -> Callable[[], None] | None:
    """Return a `preexec_fn` for Popen after which the kernel sends `signal_number` to the child when its parent dies.

    "Parent" is the thread that starts the child: start children from the main thread. None where there is no prctl.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: afterwards little is safe
    parent = os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal_number)

    return arrange
