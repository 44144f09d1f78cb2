"""docs/conformance.md is current, every statement is accounted for, and citations are read as they are meant."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import conformance_page
import pytest
from citations import Citation, Collected, Shown, in_name, in_text
from conformance_page import NOTES, PAGE, STATEMENTS, Row

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_is_current(tmp_path: Path) -> None:
    """In a process of its own: to find the citations, pytest collects the other tests."""
    written = tmp_path / "conformance.md"
    command = [sys.executable, conformance_page.__file__, str(written)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert made.stderr == ""
    assert made.returncode == 0
    assert PAGE.read_text() == written.read_text(), "run `make docs`"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_mqtt_3_1_0_1_first_packet", [Citation("3.1.0-1", None)]),
        ("test_v5_mqtt_3_3_4_10_quota", [Citation("3.3.4-10", "v5")]),
        ("test_v3_1_1_mqtt_4_8_0_1_errors", [Citation("4.8.0-1", "v3.1.1")]),
        ("test_invalid_topic_names_mqtt_3_3_2_2", [Citation("3.3.2-2", None)]),
        ("test_mqtt_3_1_refuses_an_empty_client_id", []),
        ("test_everything", []),
    ],
)
def test_citations_in_names(name: str, expected: list[Citation]) -> None:
    assert list(in_name(name)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[v5 MQTT-3.3.2-4, -15]: unaltered", [Citation("3.3.2-4", "v5"), Citation("3.3.2-15", "v5")]),
        ("[v3.1.1 MQTT-3.8.4-3], [MQTT-2.1.3-1]", [Citation("3.8.4-3", "v3.1.1"), Citation("2.1.3-1", None)]),
        ("[v5 MQTT-4.7.1-1; MQTT-4.7.3-1]", [Citation("4.7.1-1", "v5"), Citation("4.7.3-1", None)]),
        ("QoS 3 [3.3.1-4]", [Citation("3.3.1-4", None)]),
        ("v3.1.1 MQTT-3-8.3-4 reserved bits", [Citation("3.8.3-4", "v3.1.1")]),
        ("MQTT 5.0 §3.3.1.3, 1.2.3-4", []),
    ],
)
def test_citations_in_text(text: str, expected: list[Citation]) -> None:
    assert list(in_text(text)) == expected


@pytest.mark.parametrize(
    ("binds", "tests", "reason", "problem"),
    [
        ("server", [("tests/a.py", "test_a")], "", ""),
        ("client", [], "", ""),
        ("both", [], "not yet: WebSocket", ""),
        ("server", [], "", "neither a test nor a note"),
        ("server", [("tests/a.py", "test_a")], "not yet: WebSocket", "a test all the same"),
        ("server", [], "later", "begins with none of"),
    ],
)
def test_a_row_needs_a_test_or_a_reason(binds: str, tests: list[tuple[str, str]], reason: str, problem: str) -> None:
    found = Row("v5", "6.0.0-1", binds, "frames are binary", tests, reason).problem
    assert problem in found
    assert bool(found) is bool(problem)


def test_notes_may_name_only_what_is_there() -> None:
    collected = Collected({Shown("v5", "1.1.1-1", "tests/a.py", "test_a")}, {"test_a": "tests/a.py"}, [])
    notes: dict[str, dict[str, object]] = {
        "shown": {"test_gone": ["v5 1.1.1-1"], "test_a": ["v5 9.9.9-9"]},
        "v5": {"8.8.8-8": "not yet: this"},
        "v3.1.1": {},
    }
    problems = conformance_page._problems_of_notes(collected, notes, {"v5": {"1.1.1-1"}, "v3.1.1": set()})
    assert [problem.rsplit(": ")[1] for problem in problems] == ["test_gone", "v5 9.9.9-9", "v5 8.8.8-8"]


def test_all_statements_are_listed() -> None:
    """Appendix B has 141 statements of MQTT 3.1.1 and 251 of MQTT 5.0."""
    statements = tomllib.loads(STATEMENTS.read_text())
    assert {version: len(each) for version, each in statements.items()} == {"v3.1.1": 141, "v5": 251}
    assert {binds for each in statements.values() for binds, _ in each.values()} == {"client", "server", "both"}
    assert set(tomllib.loads(NOTES.read_text())) == {"shown", "v3.1.1", "v5", "choice"}
