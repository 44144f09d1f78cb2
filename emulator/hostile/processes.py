"""The attack and the bystander as processes of their own, and what they report through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.attack import Attack, TimeIsUpError
from emulator.hostile.bystander import Bystander
from emulator.hostile.client import ServiceError
from emulator.hostile.healthz import HealthzBystander
from emulator.hostile.latencies import Seen
from emulator.hostile.packets import V5
from emulator.hostile.scenarios import BY_NAME

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from typing import Self

    from emulator.hostile.target import Target

ATTACKER_NICENESS = 10  # the machine is the broker's and the bystander's first
GRACE_S = 15.0
CLEAN_UP_S = 30.0
_context = multiprocessing.get_context("spawn")


@dataclass
class Report:
    """What an attack did: answers by name, bytes both ways, and what it left (for `clean_up`). `failure`: of its own."""

    counts: Counter[str] = field(default_factory=Counter)
    moved_bytes: int = 0
    client_ids: list[bytes] = field(default_factory=list)
    topics: list[bytes] = field(default_factory=list)
    failure: str = ""


def attack(target: Target, scenario: str, *, seconds: float, scale: float, seed: int) -> Report:
    """Run one scenario's attack to its end and return what it did."""
    here, there = _context.Pipe()
    process = _context.Process(target=_attack, args=(there, target, scenario, seconds, scale, seed), daemon=True)
    process.start()
    there.close()
    try:
        if here.poll(seconds + GRACE_S):
            report: Report = here.recv()
            return report
    except EOFError:
        pass
    finally:
        process.kill()
        process.join()
        here.close()
    return Report(failure="the attacker did not report")


def _attack(parent: Connection, target: Target, name: str, seconds: float, scale: float, seed: int) -> None:
    os.nice(ATTACKER_NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = Attack(target, seconds=seconds, scale=scale, seed=seed)
    failure = ""
    try:
        BY_NAME[name].run(made)
    except TimeIsUpError:
        made.counts["time is up"] = 1
    except OSError as error:  # no descriptors or ports left: the attacker's own bound
        failure = str(error)
    made.close()
    parent.send(Report(made.counts, made.bytes_moved, made.client_ids, made.topics, failure))


def clean_up(target: Target, left: Report) -> None:
    """End the sessions and clear the retained messages that an attack left, as far as the broker lets it."""
    cleaner = Attack(target, seconds=CLEAN_UP_S)
    with suppress(TimeIsUpError):
        for client_id in dict.fromkeys(left.client_ids):
            link = cleaner.client(client_id, version=V5)
            link.send(packets.LEAVE)
        if left.topics:
            link = cleaner.client(b"hostile-clean-up")
            cleared = enumerate(left.topics)
            link.send_all(packets.publish(each, qos=1, packet_id=n + 1, is_retained=True) for n, each in cleared)
        cleaner.settle(0.5)
    cleaner.close()


class BystanderProcess:
    """A bystander of the broker or the dashboard, from `with` on. Raises ServiceError when it gets no answer at first."""

    def __init__(self, target: Target, *, is_on_dashboard: bool) -> None:
        self._pipe, there = _context.Pipe()
        self._process = _context.Process(target=_stand_by, args=(there, target, is_on_dashboard), daemon=True)
        self._there = there

    def __enter__(self) -> Self:
        self._process.start()
        self._there.close()
        try:
            failure = self._pipe.recv()
        except EOFError:
            failure = "the bystander ended"
        if failure:
            self._process.join()
            raise ServiceError(failure)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def conclude(self) -> Seen:
        """Stop it and return what it saw, after the last answers."""
        self._pipe.send("stop")
        try:
            seen: Seen = self._pipe.recv()
        except EOFError:
            return Seen(cuts=["the bystander ended"])
        return seen


def _stand_by(parent: Connection, target: Target, is_on_dashboard: bool) -> None:
    try:
        bystander = HealthzBystander(target) if is_on_dashboard else Bystander(target)
    except ServiceError as error:
        parent.send(str(error))
        return
    parent.send("")
    bystander.run(parent)
    with suppress(OSError):
        parent.send(bystander.seen)
