"""What the ledger and its observers say together: what is missing, altered, repeated, out of order. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emulator.fleet.ledger import ACKNOWLEDGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from emulator.fleet.ledger import Ledger, Track
    from emulator.fleet.observer import Observer

SHOWN = 5


@dataclass
class Tally:
    """How many, and the first few of them by name."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(name)


@dataclass
class Findings:
    """What one observer saw of all that it should have: `expected` messages and `wills`."""

    name: str
    expected: int = 0
    wills: int = 0
    beyond_retention: int = 0
    missing: Tally = field(default_factory=Tally)
    missing_wills: Tally = field(default_factory=Tally)
    altered: Tally = field(default_factory=Tally)
    repeated: Tally = field(default_factory=Tally)
    reordered: Tally = field(default_factory=Tally)
    unverifiable: Tally = field(default_factory=Tally)

    @property
    def is_complete(self) -> bool:
        """Whether everything that has to be there is."""
        return not self.missing.count and not self.missing_wills.count

    def faults(self) -> list[tuple[str, Tally]]:
        """Return each kind of fault with how many there are."""
        return [
            ("missing", self.missing),
            ("wills missing", self.missing_wills),
            ("altered, or not sent by this fleet", self.altered),
            ("repeated that may not be", self.repeated),
            ("out of order", self.reordered),
        ]


@dataclass(frozen=True)
class Verdict:
    """The end of a run: figures of every observer, and what kept the fleet from judging (`reasons`).

    `sessions_lost`: lasting sessions that were not there any more at a reconnect.
    """

    findings: list[Findings]
    reasons: list[str]
    sessions_lost: int = 0

    @property
    def is_wrong(self) -> bool:
        """Whether something is not as it has to be."""
        return self.sessions_lost > 0 or any(tally.count for found in self.findings for _, tally in found.faults())

    @property
    def is_verified(self) -> bool:
        """Whether everything was judged and nothing is wrong."""
        return not (self.is_wrong or self.reasons or any(found.unverifiable.count for found in self.findings))

    def text(self) -> str:
        """Return lines for people: a line for each observer, the first few faults, the verdict."""
        lines = [line for found in self.findings for line in _lines(found)]
        if self.sessions_lost:
            lines.append(f"{self.sessions_lost:,} lasting sessions were not there any more at a reconnect")
        lines += [f"not verifiable: {reason}" for reason in self.reasons]
        end = "VERIFIED" if self.is_verified else "NOT AS SENT" if self.is_wrong else "NOT VERIFIABLE"
        return "\n".join([*lines, end])


def judge(ledger: Ledger, observers: Sequence[Observer], reasons: Iterable[str] = ()) -> Verdict:
    """Hold every observer against the ledger.

    Acknowledged messages have to be there. At QoS 2 in lasting sessions no message may be there twice; in the store,
    no will either. The first appearances of a publisher's messages on a topic have to be in the order made.
    """
    found = [_findings(ledger, observer) for observer in observers]
    why = list(reasons)
    if ledger.unrecorded:
        why.append(f"{ledger.unrecorded:,} messages beyond what the ledger holds")
    return Verdict(found, why)


def judge_devices(ledger: Ledger, observer: Observer) -> list[str]:
    """Return the devices of which an observer does not show everything that was acknowledged."""
    devices: dict[str, None] = {}
    for track in ledger.tracks:
        found = Findings(observer.name)
        _judge_presence(track, observer, found)
        if not found.is_complete:
            devices[track.source.device_id] = None
    return list(devices)


def _findings(ledger: Ledger, observer: Observer) -> Findings:
    found = Findings(observer.name)
    for track in ledger.tracks:
        if track.source.kind in observer.kinds:
            if observer.is_whole:
                _judge_presence(track, observer, found)
                _judge_repeats(track, observer, found)
            for number in observer.seen(track).reordered if observer.is_ordered and track.source.kind != "will" else ():
                found.reordered.add(_name(track, number))
    for (topic_name, _), head in observer.strangers.items():
        found.altered.add(f"{topic_name}: {head!r}")
    return found


def _judge_presence(track: Track, observer: Observer, found: Findings) -> None:
    if min(track.source.qos, observer.qos) == 0:
        return
    seen = observer.seen(track)
    for number in track.numbers(ACKNOWLEDGED):
        found.expected += track.source.kind != "will"
        found.wills += track.source.kind == "will"
        if seen.count(number):
            continue
        was_stored = observer.was_stored(track, number)
        if was_stored is None:
            found.unverifiable.add(_name(track, number))
        elif was_stored:
            found.beyond_retention += 1
        else:
            (found.missing_wills if track.source.kind == "will" else found.missing).add(_name(track, number))


def _judge_repeats(track: Track, observer: Observer, found: Findings) -> None:
    is_will = track.source.kind == "will"
    if observer.qos == 2 and (track.source.is_once or (is_will and (observer.is_store or track.source.qos == 2))):
        for number in observer.seen(track).repeated():
            found.repeated.add(_name(track, number))


def _lines(found: Findings) -> list[str]:
    figures = ", ".join(f"{tally.count:,} {name}" for name, tally in found.faults())
    lines = [f"{found.name:<15} {found.expected:,} acknowledged and {found.wills:,} wills due: {figures}"]
    if found.beyond_retention:
        lines.append(f"  {found.beyond_retention:,} were stored and have left the history since: beyond its retention")
    if found.unverifiable.count:
        lines.append(
            f"  not verifiable: {found.unverifiable.count:,} beyond the retention of the history before they were read, "
            f"such as {found.unverifiable.first[0]}"
        )
    for name, tally in found.faults():
        lines += [f"  {name}: {each}" for each in tally.first]
        if tally.count > len(tally.first):
            lines.append(f"  {name}: … and {tally.count - len(tally.first):,} more")
    return lines


def _name(track: Track, number: int) -> str:
    return f"{track.source.topic_name} {'will' if track.source.kind == 'will' else 'seq'} {number}"
