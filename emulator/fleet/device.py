"""One emulated device: what it measures and when its clock says so. Its publisher takes it from there."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from emulator.fleet import malformed
from emulator.fleet.telemetry import Telemetry

if TYPE_CHECKING:
    from emulator.fleet.malformed import Malformation
    from emulator.fleet.publisher import Publisher


class Device:
    """Takes readings for devices/ID/telemetry. `skew_s`: how far its clock is ahead."""

    def __init__(self, device_id: str, publisher: Publisher, seed: int) -> None:
        self.device_id = device_id
        self.skew_s = 0.0
        self.malformations: tuple[Malformation, ...] = ()
        self.malformed_share = 0.0
        self._publisher = publisher
        self._track = publisher.telemetry_of(device_id)
        self._telemetry = Telemetry(seed, device_id)
        self._random = Random(f"{seed}/{device_id}/malformed")

    def take_reading(self, now_s: float) -> None:
        """Take one reading at `now_s` (seconds since the epoch); some are malformed while they are asked to be."""
        if self.malformations and self._random.random() < self.malformed_share:
            kind = self._random.choice(self.malformations)
            self._publisher.publish(self._track, lambda seq: malformed.payload(kind, seq, self._random))
        else:
            self._publisher.publish(self._track, lambda seq: self._telemetry.reading(now_s + self.skew_s, seq))
