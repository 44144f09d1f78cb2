"""Which tests cite which normative statements.

A test cites a statement in its name (`test_v5_mqtt_3_3_4_9_…`), in a parameter's id, in its docstring or in a comment
(`[v5 MQTT-3.3.4-9, -10]`, `[MQTT-3.3.4-9]`, `[3.3.4-9]`). The two versions number differently, so:

- a citation that names its version counts for that version alone, and only where the test runs for it;
- one that names none counts for the version that the test runs for (its parameter `version`); in a test that knows no
  versions it counts for the newest specification that has the statement;
- a test's name says nothing of a version whose statements its docstring names.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import tokenize
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = ("v5", "v3.1.1")
LEVELS: dict[int, tuple[str, ...]] = {3: (), 4: ("v3.1.1",), 5: ("v5",)}  # MQTT 3.1 numbers no statements
IN_NAMES = re.compile(r"(?:(v5|v3_1_1)_)?mqtt_(\d+)_(\d+)_(\d+)_(\d+)(?!\d)")
IN_TEXT = re.compile(
    r"(?:(v5|v3\.1\.1) )?(?:MQTT-|(?<=\[))(\d+)[.-](\d+)\.(\d+)-(\d+)((?:, -\d+)*)(?!\d)",
)


class Citation(NamedTuple):
    """A statement's number, and the version it was named with, if any."""

    number: str
    version: str | None


class Shown(NamedTuple):
    """One statement of one version, and the test function that cites it."""

    version: str
    number: str
    path: str
    test: str


def in_name(name: str) -> Iterator[Citation]:
    """Find citations in a test's name."""
    for version, *parts in IN_NAMES.findall(name):
        yield Citation(_number(parts), version.replace("_", ".") or None)


def in_text(text: str) -> Iterator[Citation]:
    """Find citations in prose, comments and parameter ids; `, -10` continues the list of the same section."""
    for version, *parts, more in IN_TEXT.findall(text):
        yield Citation(_number(parts), version or None)
        for last in re.findall(r"\d+", more):
            yield Citation(_number([*parts[:3], last]), version or None)


def _number(parts: list[str]) -> str:
    return f"{'.'.join(parts[:3])}-{parts[3]}"


class Collected(NamedTuple):
    """What the tests cite; where each test is, by name; and one line for each number that no specification has."""

    shown: set[Shown]
    paths: dict[str, str]
    unknown: list[str]


class Collector:
    """A pytest plugin that keeps the tests it sees collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Function] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = [item for item in session.items if isinstance(item, pytest.Function)]


def collect(folders: list[str], known: dict[str, set[str]]) -> Collected:
    """Return what the tests in `folders` cite of the `known` statements of each version.

    Raises RuntimeError when the tests cannot be collected.
    """
    collector = Collector()
    with contextlib.redirect_stdout(io.StringIO()) as output:  # pytest would list every test
        code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *folders], [collector])
    if code:
        raise RuntimeError(output.getvalue())
    shown: set[Shown] = set()
    unknown: set[str] = set()
    paths: dict[str, str] = {}
    for item in collector.items:
        name = item.originalname
        paths[name] = item.path.relative_to(item.config.rootpath).as_posix()
        for citation in _citations(item):
            if not any(citation.number in known[version] for version in VERSIONS):
                unknown.add(f"{paths[name]}: {name} cites {citation.number}, which no version has")
            shown.update(
                Shown(version, citation.number, paths[name], name) for version in _versions(item, citation, known)
            )
    return Collected(shown, paths, sorted(unknown))


def _citations(item: pytest.Function) -> Iterator[Citation]:
    docstring = list(in_text(inspect.getdoc(item.function) or ""))
    named = {citation.version for citation in docstring if citation.version}
    yield from docstring
    yield from in_text(_comments(item))
    if hasattr(item, "callspec"):
        yield from in_text(item.callspec.id)
    for citation in in_name(item.originalname):
        if citation.version:
            yield citation
        else:
            versions = [version for version in _runs_for(item) or (None,) if version not in named]
            yield from (Citation(citation.number, version) for version in versions)


def _comments(item: pytest.Function) -> str:
    lines = io.StringIO(inspect.getsource(item.function)).readline
    return "\n".join(token.string for token in tokenize.generate_tokens(lines) if token.type == tokenize.COMMENT)


def _runs_for(item: pytest.Function) -> tuple[str, ...] | None:
    level = item.callspec.params.get("version") if hasattr(item, "callspec") else None
    return LEVELS[level] if isinstance(level, int) else None


def _versions(item: pytest.Function, citation: Citation, known: dict[str, set[str]]) -> list[str]:
    runs_for = _runs_for(item)
    if citation.version:
        candidates = [citation.version] if runs_for is None or citation.version in runs_for else []
    elif runs_for is None:
        candidates = [version for version in VERSIONS if citation.number in known[version]][:1]
    else:
        candidates = list(runs_for)
    return [version for version in candidates if citation.number in known[version]]
