from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emulator.process_memory import tree, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 2**20
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
exec(sys.argv[1])
"""
EATER = """
import sys
held = []
print(flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "hold":
        held.append(b"x" * int(words[1]))
    elif words[0] == "spike":
        len(b"x" * int(words[1]))
    print(flush=True)
"""


class Eater:
    """A real process that eats memory when told."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self._wait()

    def tell(self, words: str) -> None:
        """Return when it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(words.encode() + b"\n")
        self._process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"\n"


@contextmanager
def eater(*command: str) -> Iterator[Eater]:
    with subprocess.Popen([sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Eater(process)
        process.kill()


def test_what_is_held_is_seen():
    with eater(EATER) as process:
        before = tree_bytes([process.pid])
        process.tell(f"hold {100 * MEBIBYTE}")
        assert 95 < (tree_bytes([process.pid]) - before) / MEBIBYTE < 110


def test_a_peak_that_is_over_counts_once():
    with eater(EATER) as process:
        before = tree_bytes([process.pid])
        process.tell(f"spike {100 * MEBIBYTE}")
        peak, after = tree_bytes([process.pid]), tree_bytes([process.pid])
        assert 95 < (peak - before) / MEBIBYTE < 110
        assert after - before < 10 * MEBIBYTE


def test_children_count():
    with eater(PARENT, EATER) as process:
        (child,) = tree([process.pid]) - {process.pid}
        assert 0 < tree_bytes([child]) < tree_bytes([process.pid])


def test_what_has_ended_holds_nothing():
    with eater(EATER) as process:
        pid = process.pid
    assert (tree([pid]), tree_bytes([pid])) == (set(), 0)


def test_a_process_of_its_own():
    assert os.getpid() in tree([os.getpid()])
