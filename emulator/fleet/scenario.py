"""What a fleet consists of and what happens to it: plain data. `scenario_file` reads it, `schedule` spreads it in time.

Times are seconds since the start of the run; shares are from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from emulator.fleet.malformed import Malformation

Among = Literal["all", "devices", "gateways", "watchers"]


@dataclass(frozen=True)
class Group:
    """`count` connections that publish `rate` messages/s together, each for itself or for `devices` behind it.

    `buffer`: messages that a connection keeps while it cannot send. `window`: messages it sends unacknowledged.
    """

    count: int
    rate: float
    prefix: str
    devices: int = 0  # behind each gateway; 0: the connection is a device itself
    qos: Literal[0, 1, 2] = 1
    is_persistent: bool = True
    buffer: int = 1000
    window: int = 20

    @property
    def is_of_gateways(self) -> bool:
        """Whether its connections speak for others."""
        return self.devices > 0

    def members(self) -> dict[str, list[str]]:
        """Return each connection's client id with the ids of the devices that it speaks for."""
        width = max(4, len(str(self.count)))
        names = [f"{self.prefix}-{number:0{width}}" for number in range(1, self.count + 1)]
        if not self.is_of_gateways:
            return {name: [name] for name in names}
        return {name: [f"{name}-{number:02}" for number in range(1, self.devices + 1)] for name in names}


@dataclass(frozen=True)
class Ramp:
    """Connections come or go, evenly, until a share `to` of them is there."""

    at_s: float
    for_s: float
    to: float


@dataclass(frozen=True)
class Outage:
    """A share of the connections loses its network: `cut` ends them without DISCONNECT, `silent` lets nothing pass."""

    at_s: float
    for_s: float
    share: float = 1.0
    among: Among = "all"
    how: Literal["cut", "silent"] = "cut"


@dataclass(frozen=True)
class Storm:
    """A share of the connections does the same at one moment: come back anew, or publish `readings` a device."""

    at_s: float
    share: float = 1.0
    among: Among = "all"
    what: Literal["reconnect", "publish"] = "reconnect"
    readings: int = 10


@dataclass(frozen=True)
class ClockSkew:
    """The clocks of a share of the connections' devices are `skew_s` ahead."""

    at_s: float
    for_s: float
    skew_s: float
    share: float = 1.0
    among: Among = "all"


@dataclass(frozen=True)
class Malformed:
    """A share of all readings is no reading."""

    at_s: float
    for_s: float
    share: float
    kinds: tuple[Malformation, ...]


Phase = Ramp | Outage | Storm | ClockSkew | Malformed


@dataclass(frozen=True)
class Watchers:
    """Subscribers of the fleet's own, to everything that devices say.

    `members`: so many clients for each, which share a subscription. One that is not persistent may miss messages.
    """

    count: int
    qos: Literal[0, 1, 2] = 2
    members: int = 1
    is_persistent: bool = True


@dataclass(frozen=True)
class Commands:
    """Commands to devices, `rate` a second in all."""

    rate: float
    qos: Literal[0, 1, 2] = 1


@dataclass(frozen=True)
class Scenario:
    """One run. `duration_s` None: until it is stopped. `start`: the share of connections there from the beginning."""

    groups: tuple[Group, ...]
    seed: int = 1
    duration_s: float | None = None
    protocol: Literal["3.1.1", "5"] = "5"
    keep_alive_s: int = 60
    start: float = 1.0
    watchers: tuple[Watchers, ...] = ()
    commands: Commands | None = None
    phases: tuple[Phase, ...] = field(default=())
