from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.gateway.packet_rate import PacketRate, packets_of


@pytest.mark.parametrize(("byte_count", "packets"), [(0, 0), (1, 1), (1500, 1), (1501, 2), (1_500_000, 1000)])
def test_a_packet_carries_1500_bytes(byte_count: int, packets: int):
    assert packets_of(byte_count) == packets


def test_a_burst_passes_at_once_and_what_exceeds_it_is_dropped():
    rate = PacketRate(rate=10, burst=100)
    assert rate.admit(60, now_s=0) == 60
    assert rate.admit(60, now_s=0) == 40
    assert rate.admit(1, now_s=0) == 0


def test_the_rate_comes_back_with_time_up_to_a_burst():
    rate = PacketRate(rate=10, burst=100)
    assert rate.admit(100, now_s=0) == 100
    assert rate.admit(100, now_s=0.05) == 0
    assert rate.admit(100, now_s=0.1) == 1  # half a packet's time twice
    assert rate.admit(100, now_s=2.1) == 20
    assert rate.admit(1000, now_s=1000) == 100


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), max_size=50))
def test_it_never_admits_more_than_a_burst_and_the_rate(asked: list[tuple[int, float]]):
    rate, now_s, admitted = PacketRate(rate=10, burst=100), 0.0, 0
    for packets, pause_s in asked:
        now_s += pause_s
        admitted += rate.admit(packets, now_s)
    assert admitted <= 100 + 10 * now_s + 1e-6
