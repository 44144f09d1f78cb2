"""How long the platform waits before it starts a container again. Pure; times in seconds."""

from __future__ import annotations

STABLE_S = 300.0  # who runs this long starts with a clean slate
COOL_OFF_S = 300.0
MAX_CRASHES = 12
MAX_BOOTS = 20
LONGEST_BOOT_PAUSE_S = 60.0


def after_crash_s(crashes: int) -> float | None:
    """Return the wait after so many crashes in a row, each within STABLE_S; None when there is no further try.

    The platform's documentation: at once after the first, then 5 minutes more each time, 12 times.
    """
    return None if crashes > MAX_CRASHES else (crashes - 1) * COOL_OFF_S


def after_failed_boot_s(boots: int) -> float | None:
    """Return the wait after so many boots without success; None when there is no further try.

    The platform's documentation: 20 tries with exponential backoff; where that begins and ends is our guess.
    """
    return None if boots >= MAX_BOOTS else min(2.0 ** (boots - 1), LONGEST_BOOT_PAUSE_S)
