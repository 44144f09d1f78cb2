"""What a check finds, said on standard output as it is found."""

from __future__ import annotations

import sys

MAX_SHOWN = 100


class Findings:
    """What was found: said at once, up to MAX_SHOWN of it. `repairs`: whether it is to be set right."""

    def __init__(self, *, repairs: bool) -> None:
        self.repairs = repairs
        self.count = 0
        self.repaired = 0

    def add(self, where: str, what: str, *, is_repaired: bool = False) -> None:
        """Note a difference."""
        self.count += 1
        self.repaired += is_repaired
        if self.count <= MAX_SHOWN:
            sys.stdout.write(f"{where}: {what}{'; repaired' if is_repaired else ''}\n")
        elif self.count == MAX_SHOWN + 1:
            sys.stdout.write("More differences are only counted.\n")

    def note(self, text: str) -> None:
        """Say what was looked at, or could not be."""
        sys.stdout.write(f"{text}\n")

    def end(self) -> None:
        """Say what it comes to."""
        if not self.count:
            self.note("No differences.")
        elif self.repairs:
            self.note(f"{self.count:,} differences, {self.repaired:,} repaired. Check again to see what is left.")
        else:
            self.note(f"{self.count:,} differences. --repair sets right what can be.")
