"""What a scenario is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.hostile.attack import Attack


@dataclass(frozen=True)
class Scenario:
    """One attack. `bound` says in a few words what should hold it; `is_on_dashboard`: whom it is for."""

    name: str
    description: str
    bound: str
    run: Callable[[Attack], None]
    is_on_dashboard: bool = field(default=False, kw_only=True)
