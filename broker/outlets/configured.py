"""Which outlets the settings ask for; the names are those of `store.outlet_state.outlet_names`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.outlets.influxdb import InfluxOutlet
from broker.outlets.long_history import LongHistoryOutlet
from store.outlet_state import INFLUXDB, MONGODB, outlet_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.outlets.outlet import Outlet
    from settings import Settings

KINDS: dict[str, Callable[[Settings], Outlet]] = {MONGODB: LongHistoryOutlet, INFLUXDB: InfluxOutlet}


def configured_outlets(settings: Settings) -> list[Outlet]:
    """Return the outlets to write to, none of them open."""
    return [KINDS[name](settings) for name in outlet_names(settings)]
