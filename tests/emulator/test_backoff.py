from __future__ import annotations

from random import Random

from emulator.fleet.backoff import LONGEST_S, Backoff


def test_delays_double_up_to_the_longest_and_are_shortened_by_at_most_half():
    backoff = Backoff(Random(1))
    for ceiling_s in (0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S):
        assert ceiling_s / 2 <= backoff.next_s() <= ceiling_s


def test_success_starts_anew():
    backoff = Backoff(Random(1))
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_devices_do_not_return_at_the_same_moment():
    assert len({Backoff(Random(seed)).next_s() for seed in range(100)}) == 100
