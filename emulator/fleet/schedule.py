"""A scenario's phases as single actions in time, drawn with its seed: the same file gives the same actions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from emulator.fleet.scenario import ClockSkew, Malformed, Outage, Ramp, Storm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emulator.fleet.scenario import Among, Phase, Scenario

Verb = Literal["join", "leave", "cut", "silence", "restore", "reconnect", "publish", "skew", "malform"]


@dataclass(frozen=True)
class Action:
    """What happens to one client at a time. `value`: readings to publish, or seconds of skew, or what to malform."""

    at_s: float
    verb: Verb
    client_id: str
    value: Any = None


class Schedule:
    """All actions of a scenario, and who is there from the start. `clients`: client ids by what they are."""

    def __init__(self, scenario: Scenario, clients: Mapping[Among, list[str]]) -> None:
        self._random = Random(f"{scenario.seed}/schedule")
        self._clients = clients
        self._publishers = [*clients.get("devices", []), *clients.get("gateways", [])]
        self._turn = self._random.sample(self._publishers, len(self._publishers))  # in which order they come and go
        self._present = round(scenario.start * len(self._turn))
        self.absent = frozenset(self._turn[self._present :])
        found: list[Action] = []
        for phase in sorted(scenario.phases, key=lambda each: each.at_s):
            found += self._actions(phase)
        self.actions = sorted(found, key=lambda action: action.at_s)

    def _actions(self, phase: Phase) -> list[Action]:
        match phase:
            case Ramp():
                return self._ramp(phase)
            case Outage():
                verb: Verb = "silence" if phase.how == "silent" else "cut"
                return self._from_to(phase, (verb, None), ("restore", None))
            case Storm():
                now: tuple[Verb, Any] = ("publish", phase.readings) if phase.what == "publish" else ("reconnect", None)
                return [Action(phase.at_s, now[0], each, now[1]) for each in self._some(phase.share, phase.among)]
            case ClockSkew():
                return self._from_to(phase, ("skew", phase.skew_s), ("skew", 0.0))
            case Malformed():
                begun = [Action(phase.at_s, "malform", each, (phase.share, phase.kinds)) for each in self._publishers]
                return begun + [
                    Action(phase.at_s + phase.for_s, "malform", each, (0.0, ())) for each in self._publishers
                ]

    def _ramp(self, phase: Ramp) -> list[Action]:
        before, self._present = self._present, round(phase.to * len(self._turn))
        verb: Verb = "join" if self._present >= before else "leave"
        moving = self._turn[before : self._present] or self._turn[self._present : before][::-1]
        step_s = phase.for_s / max(1, len(moving))
        return [Action(phase.at_s + index * step_s, verb, each) for index, each in enumerate(moving)]

    def _from_to(self, phase: Outage | ClockSkew, begin: tuple[Verb, Any], end: tuple[Verb, Any]) -> list[Action]:
        struck = self._some(phase.share, phase.among)
        begun = [Action(phase.at_s, begin[0], each, begin[1]) for each in struck]
        return begun + [Action(phase.at_s + phase.for_s, end[0], each, end[1]) for each in struck]

    def _some(self, share: float, among: Among) -> list[str]:
        found = self._publishers if among == "all" else self._clients.get(among, [])
        return self._random.sample(found, round(share * len(found)))
