from __future__ import annotations

import json
from statistics import mean

from emulator.fleet.telemetry import DAY_S, WARMEST_S, Telemetry

NOON_S = 1_800_000_000.0


def readings(seed: int, device_id: str, count: int = 50) -> list[bytes]:
    telemetry = Telemetry(seed, device_id)
    return [telemetry.reading(NOON_S + second, 1 + second) for second in range(count)]


def test_the_same_seed_and_device_give_the_same_readings():
    assert readings(7, "sensor-0001") == readings(7, "sensor-0001")


def test_devices_and_seeds_differ():
    assert len({tuple(readings(*case)) for case in [(7, "sensor-0001"), (7, "sensor-0002"), (8, "sensor-0001")]}) == 3


def test_values_stay_plausible_over_a_month():
    telemetry = Telemetry(1, "sensor-0001")
    for minute in range(0, 30 * 24 * 60, 5):
        reading = json.loads(telemetry.reading(NOON_S + minute * 60, minute))
        assert 5 <= reading["temperature"] <= 35
        assert 20 <= reading["humidity"] <= 90
        assert 980 <= reading["pressure"] <= 1040
        assert 5 <= reading["battery"] <= 100
        assert -95 <= reading["rssi"] <= -40


def test_a_reading_carries_its_number_and_its_own_time():
    reading = json.loads(Telemetry(1, "d").reading(NOON_S + 0.25, 7))
    assert (reading["seq"], reading["time"]) == (7, "2027-01-15T08:00:00.250Z")


def test_afternoons_are_warmer_than_nights():
    telemetry = Telemetry(1, "sensor-0001")

    def mean_at(seconds_of_day: int) -> float:
        return mean(
            json.loads(telemetry.reading(day * DAY_S + seconds_of_day, day))["temperature"]
            for day in range(20_000, 20_050)
        )

    assert mean_at(WARMEST_S) > mean_at(WARMEST_S - DAY_S // 2) + 3
