"""When devices take their readings: at an even rate, one after the other. Pure: the time comes from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.fleet.device import Device

BATCH = 1000  # readings before sockets get their turn again


class Turns:
    """Reading k = 0, 1, … is due k / rate seconds after the start, of device k modulo the number of devices."""

    def __init__(self, devices: list[Device], rate: float, duration_s: float | None) -> None:
        self._devices = devices
        self._rate = rate
        self._total = None if duration_s is None else round(rate * duration_s)
        self._taken = 0

    @property
    def is_over(self) -> bool:
        """Whether all readings were taken."""
        return self._total is not None and self._taken >= self._total

    @property
    def due_s(self) -> float:
        """When the next reading is due, in seconds after the start."""
        return self._taken / self._rate

    def take_due(self, elapsed_s: float, now_s: float) -> None:
        """Let the devices whose turn has come take their readings, up to BATCH of them."""
        due = min(self._taken + BATCH, 1 + int(elapsed_s * self._rate))
        due = due if self._total is None else min(due, self._total)
        for index in range(self._taken, due):
            self._devices[index % len(self._devices)].take_reading(now_s)
        self._taken = max(self._taken, due)
