from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from launched import STUBBORN, await_condition, is_alive

from local.children import Children
from local.output import Output

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ENVIRON = {"PATH": os.defpath}


def test_a_child_that_ignores_sigterm_is_killed_after_the_time_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    children = Children(Output(["stubborn"], is_coloured=False), tmp_path)
    children.start("stubborn", [sys.executable, "-c", STUBBORN], ENVIRON)
    shown = ""

    def has_written() -> bool:
        nonlocal shown
        children.turn()
        shown += capfd.readouterr().out
        return "\n" in shown

    await_condition(has_written, "it ignores SIGTERM")
    children.stop(["stubborn"], 0.2, lambda: False)
    assert not is_alive(int(shown.partition("|")[2]))
    assert children.names == []


def test_what_a_child_wrote_last_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    children = Children(Output(["last"], is_coloured=False), tmp_path)
    children.start("last", [sys.executable, "-c", "print('farewell', end='')"], ENVIRON)
    await_condition(children.first_dead, "it ended")
    assert children.first_dead() == ("last", 0)
    children.stop(["last"], 1, lambda: False)
    assert capfd.readouterr().out == "last | farewell\n"
