"""`make platform`: the plan of `make run`, with the emulated TCP Gateway and its containers in place of the one broker."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plan import Plan

CONTAINERS = 3
MEMORY_MB = 256  # the platform's smallest size with room for a broker
SCHEDULE = Path(__file__).with_name("platform.schedule")


def behind_gateway(plan: Plan) -> Plan:
    """Return `plan` with its `tcp` process started by the gateway, several times, and deployed by SCHEDULE."""
    control = plan.data / "gateway.sock"
    options = {
        "--port": plan.ports["tcp"],
        "--containers": CONTAINERS,
        "--procfile": plan.root / "Procfile",
        "--memory-mb": MEMORY_MB,
        "--control": control,
        "--schedule": SCHEDULE,
    }
    words = [str(word) for option in options.items() for word in option]
    command = shlex.join([sys.executable, "-m", "emulator", "gateway", *words])
    return dataclasses.replace(plan, processes={**plan.processes, "tcp": command}, gateway_control=control)
