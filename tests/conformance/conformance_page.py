"""Writes docs/conformance.md: each statement that binds a server, and the tests that show it. `make docs` runs it.

Input: `statements.toml` (the statements), the tests' citations (`citations`) and `docs/conformance-notes.toml` (why a
statement has no test, and what citations cannot say). It refuses to write a page on which a statement has neither a test
nor a reason, or both.
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

from citations import Collected, collect

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
NOTES = ROOT / "docs" / "conformance-notes.toml"
STATEMENTS = Path(__file__).with_name("statements.toml")
FOLDERS = ("wire", "protocol", "routing", "session", "net", "broker")  # where the protocol is judged
REASONS = ("does not apply: ", "by construction: ", "not yet: ")
TITLES = {"v3.1.1": "MQTT 3.1.1", "v5": "MQTT 5.0"}
MOST_TESTS = 3
INTRODUCTION = """# Conformance

Each normative statement of MQTT 3.1.1 and 5.0 (appendix B of the specifications) that binds a server, in our own words,
with the tests that show it; and each statement for clients where a test shows what becomes of one that fails in it. A
row without a test says why: *does not apply* (it speaks of what this broker does not do), *by construction* (nothing of
it could be seen from outside), *not yet* (not built, or known to be wrong). MQTT 3.1 is spoken too; it numbers no
statements.

`make docs` writes this page from the tests and from `docs/conformance-notes.toml`.
"""
CHOICES = """
## Where the specification leaves a choice

Clients are tested against the brokers in the field, so where the specification allows more than one answer we give the one
that Eclipse Mosquitto gives, as far as its own suite of packet sequences shows. Where we differ, the row says so. Nothing
here depends on a setting unless it says so.

| what is sent | what we answer | what allows it |
|---|---|---|
"""


class IncompleteError(Exception):
    """The page cannot be written; one line for each reason."""


class Row(NamedTuple):
    """One statement: whom it binds, what it asks, who shows it (path and test), and why nobody does."""

    version: str
    number: str
    binds: str
    asks: str
    tests: list[tuple[str, str]]
    reason: str

    @property
    def problem(self) -> str:
        """What keeps this row from the page, if anything."""
        if self.reason and not self.reason.startswith(REASONS):
            return f"its note begins with none of {REASONS}"
        if self.reason and self.tests:
            return f"has a note, and a test all the same: {self.tests[0][1]}"
        if self.binds != "client" and not self.reason and not self.tests:
            return f"has neither a test nor a note ({self.asks})"
        return ""


def page() -> str:
    """Return the page as Markdown. Raises IncompleteError with one line for each statement not accounted for."""
    statements: dict[str, dict[str, list[str]]] = tomllib.loads(STATEMENTS.read_text())
    notes = tomllib.loads(NOTES.read_text())
    numbers = {version: set(statements[version]) for version in TITLES}
    folders = [str(path) for folder in FOLDERS if (path := ROOT / "tests" / folder).is_dir()]
    collected = collect(folders, numbers)
    tests = _tests(collected, notes)
    rows = [
        Row(version, number, binds, asks, sorted(tests[version, number]), notes[version].get(number, ""))
        for version in TITLES
        for number, (binds, asks) in statements[version].items()
    ]
    problems = collected.unknown + _problems_of_notes(collected, notes, numbers)
    problems += [f"{row.version} {row.number} {row.problem}" for row in rows if row.problem]
    if problems:
        raise IncompleteError("\n".join(problems))
    listed = [row for row in rows if row.binds != "client" or row.tests]
    chapters = [_chapter(version, [row for row in listed if row.version == version]) for version in TITLES]
    return "".join([INTRODUCTION, *chapters, _choices(notes["choice"])])


def _tests(
    collected: Collected, notes: dict[str, dict[str, Any]]
) -> defaultdict[tuple[str, str], set[tuple[str, str]]]:
    tests: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for each in collected.shown:
        tests[each.version, each.number].add((each.path, each.test))
    for test, cited in notes["shown"].items():
        for statement in cited:
            version, _, number = statement.partition(" ")
            tests[version, number].add((collected.paths.get(test, ""), test))
    return tests


def _problems_of_notes(
    collected: Collected, notes: dict[str, dict[str, Any]], numbers: dict[str, set[str]]
) -> list[str]:
    cited = [tuple(each.split(" ")) for each in chain(*notes["shown"].values())]
    noted = [(version, number) for version in TITLES for number in notes[version]]
    return [
        *(f"a note names a test that is not there: {test}" for test in notes["shown"] if test not in collected.paths),
        *(
            f"a note names no statement: {v} {number}"
            for v, number in cited + noted
            if number not in numbers.get(v, ())
        ),
    ]


def _chapter(version: str, rows: list[Row]) -> str:
    parts = [f"\n## {TITLES[version]}\n\n{_summary(rows)}\n"]
    for section, of_section in groupby(rows, lambda row: ".".join(row.number.split(".")[:2])):
        parts.append(f"\n### §{section}\n\n| statement | what it asks | shown by |\n|---|---|---|\n")
        parts += [f"| {version} MQTT-{row.number} | {_asks(row)} | {_shown_by(row)} |\n" for row in of_section]
    return "".join(parts)


def _choices(choices: list[dict[str, str]]) -> str:
    rows = (f"| {each['sent']} | {each['answer']} | {each['allowed']} |\n" for each in choices)
    return CHOICES + "".join(rows)


def _summary(rows: list[Row]) -> str:
    of_server = [row for row in rows if row.binds != "client"]
    counts = [f"{sum(bool(row.tests) for row in of_server)} shown by tests"]
    counts += [f"{sum(row.reason.startswith(each) for row in of_server)} {each.removesuffix(': ')}" for each in REASONS]
    return f"{len(of_server)} statements bind a server: {', '.join(counts)}."


def _asks(row: Row) -> str:
    return f"(clients) {row.asks}" if row.binds == "client" else row.asks


def _shown_by(row: Row) -> str:
    if row.reason:
        kind, _, reason = row.reason.partition(": ")
        return f"*{kind}*: {reason}"
    named = [f"`{test}` ({path.removeprefix('tests/')})" for path, test in row.tests[:MOST_TESTS]]
    more = len(row.tests) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def main() -> int:
    """Write the page to the path given, docs/conformance.md without one; return the exit code."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    try:
        path.write_text(page())
    except IncompleteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
