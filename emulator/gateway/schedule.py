"""When what is done: a script of lines such as `at 10 kill tcp-1` and `every 60 deploy`, or chaos from a seed. Pure."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulator.gateway.actions import Action, parse_action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Timetable = Iterator[tuple[float, Action]]

CHAOS_VERBS = ("deploy", "restart", "scale", "kill", "stop")
SHORTEST_PERIOD_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Entry:
    """One line of a script; with `every_s` the action comes again and again."""

    at_s: float
    action: Action
    every_s: float | None = None


def parse_schedule(text: str) -> tuple[Entry, ...]:
    """Return the entries of a script; empty lines and those with # are skipped. Raises ValueError naming a bad line."""
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        try:
            if words:
                entries.append(_entry(words))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return tuple(entries)


def _entry(words: list[str]) -> Entry:
    when, *rest = words
    if when not in ("at", "every") or not rest:
        raise ValueError(f"{' '.join(words)!r} is not `at SECONDS ACTION` or `every SECONDS ACTION`")
    seconds, action = _seconds(rest[0]), parse_action(rest[1:])
    if when == "at":
        return Entry(seconds, action)
    if seconds < SHORTEST_PERIOD_S:
        raise ValueError(f"{rest[0]!r} is too short a period: use {SHORTEST_PERIOD_S} or more seconds")
    return Entry(seconds, action, every_s=seconds)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{text!r} is no number of seconds")
    return seconds


def timetable(entries: Iterable[Entry]) -> Timetable:
    """Yield (seconds from the start, action) in the order of time, those of one moment in the script's order."""
    due = [(entry.at_s, place, entry) for place, entry in enumerate(entries)]
    heapq.heapify(due)
    while due:
        at_s, place, entry = heapq.heappop(due)
        yield at_s, entry.action
        if entry.every_s is not None:
            heapq.heappush(due, (at_s + entry.every_s, place, entry))


def chaos(seed: int, verbs: Sequence[str], every_s: float, containers: int) -> Timetable:
    """Yield random actions without end, `every_s` seconds apart on average; the same arguments give the same ones.

    A container that is stopped goes on within LONGEST_PAUSE_S, before the next action.
    """
    rng, at_s = random.Random(seed), 0.0
    while True:
        at_s = _tenths(at_s + rng.expovariate(1 / every_s))
        verb, number = rng.choice(verbs), rng.randint(1, containers)
        if verb == "scale":
            yield at_s, Action(verb, rng.randint(1, 2 * containers))
        else:
            yield at_s, Action(verb, None if verb == "deploy" else number)
        if verb == "stop":
            at_s = _tenths(at_s + rng.uniform(0, LONGEST_PAUSE_S))
            yield at_s, Action("cont", number)


def _tenths(seconds: float) -> float:
    return round(seconds, 1)  # what is printed is exactly what happens, so that it can be a script
