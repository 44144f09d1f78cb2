from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.fleet.totals import GROWTH, LatencyHistogram, Totals


@given(
    times_ms=st.lists(st.floats(min_value=0.02, max_value=60_000), min_size=1, max_size=200),
    share=st.sampled_from([0.5, 0.95, 0.99, 1.0]),
)
def test_a_quantile_is_exact_to_one_bucket(times_ms: list[float], share: float):
    histogram = LatencyHistogram()
    for time_ms in times_ms:
        histogram.add(time_ms)
    exact = sorted(times_ms)[math.ceil(share * len(times_ms)) - 1]
    assert exact * 0.999_999 <= histogram.quantile_ms(share) <= exact * GROWTH * 1.000_001
    assert histogram.max_ms == max(times_ms)


def test_no_times_have_no_quantile():
    assert LatencyHistogram().quantile_ms(0.5) == 0


@pytest.mark.parametrize(
    ("answers", "is_settled"), [([], False), ([False], False), ([False, False], True), ([False, True], False)]
)
def test_two_awaited_messages_are_settled_by_two_good_answers(answers: list[bool], is_settled: bool):
    totals = Totals()
    for _ in range(2):
        totals.note_sent(is_awaited=True)
    for is_failure in answers:
        totals.note_answer(1.0, is_failure=is_failure)
    assert totals.is_settled is is_settled
    assert totals.acknowledged + totals.refused + totals.awaited == totals.sent == 2


def test_messages_at_qos_0_await_nothing():
    totals = Totals()
    totals.note_sent(is_awaited=False)
    assert totals.is_settled
    assert (totals.sent, totals.acknowledged) == (1, 0)
