from __future__ import annotations

from typing import TYPE_CHECKING

from local.output import LONGEST_LINE_BYTES, Output

if TYPE_CHECKING:
    import pytest


def test_lines_stand_behind_the_name_of_their_process(capfd: pytest.CaptureFixture[str]):
    output = Output(["tcp", "worker"], is_coloured=False)
    output.relay("tcp", b"one\ntw")
    output.relay("worker", b"three\n")
    output.relay("tcp", b"o\n")
    assert capfd.readouterr().out == "tcp    | one\nworker | three\ntcp    | two\n"


def test_a_last_line_without_its_end_is_shown_at_the_end(capfd: pytest.CaptureFixture[str]):
    output = Output(["tcp"], is_coloured=False)
    output.relay("tcp", b"Killed")
    assert capfd.readouterr().out == ""
    output.finish("tcp")
    output.finish("tcp")
    assert capfd.readouterr().out == "tcp | Killed\n"


def test_names_are_coloured_and_text_is_not(capfd: pytest.CaptureFixture[str]):
    output = Output(["tcp", "web"], is_coloured=True)
    output.relay("web", b"text\n")
    assert capfd.readouterr().out == "\x1b[33mweb | \x1b[0mtext\n"


def test_a_line_without_end_is_not_kept_without_bound(capfdbinary: pytest.CaptureFixture[bytes]):
    output = Output(["tcp"], is_coloured=False)
    output.relay("tcp", b"x" * (LONGEST_LINE_BYTES + 1))
    assert capfdbinary.readouterr().out == b"tcp | " + b"x" * (LONGEST_LINE_BYTES + 1) + b"\n"
