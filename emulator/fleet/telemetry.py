"""What a device measures: bounded random walks on top of a daily curve. Pure: no clock, no I/O.

Readings depend on the seed, the device's id and the times asked for, and on nothing else.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

DAY_S = 86_400
WARMEST_S = 15 * 3_600  # seconds after midnight UTC


@dataclass
class Walk:
    """A value that wanders by up to `step` at a time and stays within `low` and `high`."""

    value: float
    step: float
    low: float
    high: float

    def next(self, random: Random) -> float:
        """Take one step and return where it led."""
        self.value = min(self.high, max(self.low, self.value + random.uniform(-self.step, self.step)))
        return self.value


class Telemetry:
    """The readings of one device, in order."""

    def __init__(self, seed: int, device_id: str) -> None:
        self._random = random = Random(f"{seed}/{device_id}")
        self._site_c = random.uniform(17, 24)
        self._temperature = Walk(random.uniform(-1, 1), 0.15, -3, 3)
        self._humidity = Walk(random.uniform(45, 60), 0.5, 30, 80)
        self._pressure = Walk(random.uniform(1005, 1020), 0.2, 980, 1040)
        self._rssi = Walk(random.uniform(-75, -55), 1.5, -95, -40)
        self._battery = random.uniform(60, 100)

    def reading(self, now_s: float, seq: int) -> bytes:
        """Take the next reading at `now_s` (seconds since the epoch) and return it as JSON.

        Temperature in °C, humidity, battery in %, pressure in hPa, rssi in dBm; `time` is `now_s`, however late the
        reading is sent.
        """
        self._battery = max(5.0, self._battery - self._random.uniform(0, 0.004))
        warmth = math.cos((now_s - WARMEST_S) / DAY_S * 2 * math.pi)
        values = {
            "temperature": round(self._site_c + 4 * warmth + self._temperature.next(self._random), 2),
            "humidity": round(self._humidity.next(self._random) - 8 * warmth, 1),
            "pressure": round(self._pressure.next(self._random), 1),
            "battery": round(self._battery, 1),
            "rssi": round(self._rssi.next(self._random)),
            "time": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seq": seq,
        }
        return json.dumps(values, separators=(",", ":")).encode()
