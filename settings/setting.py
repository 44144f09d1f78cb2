"""One row of the table of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Process = Literal["tcp", "web", "store"]
"""`store`: its command line, which reads what `tcp` does; devices need not be able to connect then."""


@dataclass(frozen=True)
class Setting:
    """One row of the table. `default` None means: has to be set where `required_by` says so."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    unit: str = ""
    is_secret: bool = False
    aliases: tuple[str, ...] = ()
    required_by: tuple[Process, ...] = ()
    used_by: tuple[Process, ...] = ("tcp", "web")
