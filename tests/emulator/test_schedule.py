from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.fleet.scenario import ClockSkew, Group, Malformed, Outage, Ramp, Scenario, Storm
from emulator.fleet.schedule import Schedule

if TYPE_CHECKING:
    from emulator.fleet.scenario import Among, Phase

CLIENTS: dict[Among, list[str]] = {
    "devices": [f"d{number}" for number in range(20)],
    "gateways": [f"g{number}" for number in range(10)],
    "watchers": ["w1", "w2"],
}


def schedule(*phases: Phase, seed: int = 1, start: float = 1.0) -> Schedule:
    group = Group(count=20, rate=1, prefix="d")
    return Schedule(Scenario(groups=(group,), seed=seed, start=start, phases=phases), CLIENTS)


def test_the_same_seed_gives_the_same_actions_and_another_seed_others():
    phases = (Outage(10, 5, 0.3), Storm(20, 0.5), Ramp(30, 10, 0.2), ClockSkew(1, 2, 60, 0.4))
    assert schedule(*phases).actions == schedule(*phases).actions
    assert schedule(*phases).actions != schedule(*phases, seed=2).actions


def test_an_outage_strikes_a_share_of_those_it_is_among_and_ends_for_each():
    found = schedule(Outage(10, 5, 0.3, "gateways", "silent")).actions
    assert [(action.at_s, action.verb) for action in found] == [(10, "silence")] * 3 + [(15, "restore")] * 3
    assert {action.client_id for action in found[:3]} == {action.client_id for action in found[3:]}
    assert all(action.client_id in CLIENTS["gateways"] for action in found)


def test_everybody_does_not_mean_the_watchers():
    assert {action.client_id for action in schedule(Storm(1)).actions} == {*CLIENTS["devices"], *CLIENTS["gateways"]}
    assert [action.client_id for action in schedule(Outage(0, 1, 1.0, "watchers")).actions[:2]].count("w1") == 1


def test_ramps_go_on_from_where_the_one_before_ended():
    up = schedule(Ramp(0, 10, 1.0), Ramp(20, 6, 0.5), start=0.5)
    assert len(up.absent) == 15
    joining, leaving = up.actions[:15], up.actions[15:]
    assert {action.client_id for action in joining} == up.absent
    assert {action.verb for action in joining} == {"join"}
    assert [action.at_s for action in joining] == sorted(action.at_s for action in joining)
    assert 0 <= joining[0].at_s <= joining[-1].at_s < 10
    assert [action.verb for action in leaving] == ["leave"] * 15
    assert {action.client_id for action in leaving} == up.absent  # who came last goes first


def test_clocks_and_payloads_are_right_again_afterwards():
    found = schedule(ClockSkew(1, 4, -60, 0.1), Malformed(2, 5, 0.5, ("empty",))).actions
    assert [action.value for action in found if action.verb == "skew"] == [-60] * 3 + [0.0] * 3
    assert [action.value for action in found if action.verb == "malform"] == [(0.5, ("empty",))] * 30 + [(0.0, ())] * 30
    assert [action.at_s for action in found] == sorted(action.at_s for action in found)
