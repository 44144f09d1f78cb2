"""What can be done to the running containers, in words: `deploy`, `kill tcp-2`, `scale 5`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

SYNTAX = {
    "deploy": "deploy",
    "restart": "restart [tcp-N]",
    "scale": "scale N",
    "kill": "kill tcp-N",
    "stop": "stop tcp-N",
    "cont": "cont tcp-N",
    "status": "status",
}
NAMES_CONTAINER = frozenset({"restart", "kill", "stop", "cont"})
MAX_CONTAINERS = 100
NUMBER = re.compile(r"[1-9][0-9]{0,3}")


def container_name(number: int) -> str:
    """Return what the platform calls the container in CONTAINER."""
    return f"tcp-{number}"


@dataclass(frozen=True)
class Action:
    """One thing to do. `number` is the container's, for `scale` how many; None for all."""

    verb: str
    number: int | None = None

    def __str__(self) -> str:
        if self.number is None:
            return self.verb
        return f"{self.verb} {self.number if self.verb == 'scale' else container_name(self.number)}"


def parse_action(words: list[str]) -> Action:
    """Return the action that `words` name. Raises ValueError with what can be said instead."""
    verb, *rest = words or [""]
    if verb not in SYNTAX:
        raise ValueError(f"{verb!r} is no action: use one of {', '.join(SYNTAX.values())}")
    is_lone = verb in ("deploy", "status") or (verb == "restart" and not rest)
    if is_lone and not rest:
        return Action(verb)
    number = _number(rest[0], "tcp-" if verb in NAMES_CONTAINER else "") if len(rest) == 1 and not is_lone else None
    if number is None:
        raise ValueError(f"{' '.join(words)!r} is no action: use {SYNTAX[verb]}, N from 1 to {MAX_CONTAINERS}")
    return Action(verb, number)


def _number(text: str, prefix: str) -> int | None:
    digits = text.removeprefix(prefix) if text.startswith(prefix) else ""
    if not NUMBER.fullmatch(digits) or int(digits) > MAX_CONTAINERS:
        return None
    return int(digits)
