"""All scenarios, in the order in which they are run."""

from __future__ import annotations

from emulator.hostile.attacks import connections, dashboard, publishes, readers, sessions, subscriptions

SCENARIOS = (
    *subscriptions.SCENARIOS,
    *publishes.SCENARIOS,
    *sessions.SCENARIOS,
    *readers.SCENARIOS,
    *connections.SCENARIOS,
    *dashboard.SCENARIOS,
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
