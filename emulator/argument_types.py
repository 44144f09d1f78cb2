"""What both command lines take: kinds of numbers, for argparse."""

from __future__ import annotations

import math


def positive(text: str) -> float:
    """Return a finite number above 0. Raises ValueError."""
    number = float(text)
    if not math.isfinite(number) or number <= 0:
        raise ValueError
    return number


positive.__name__ = "number above 0"  # argparse puts it in its messages
