"""What a process and its children hold, from /proc (Linux): their share of shared pages once, and peaks in between.

Source: proc(5), smaps_rollup, status and clear_refs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

RESET_PEAK = "5"


def tree_bytes(pids: Iterable[int]) -> int:
    """Return the highest memory of these processes and their children since the last call, in bytes; 0: none lives.

    A peak between two calls counts where the kernel lets it be reset (processes of the same user).
    """
    return sum(map(_process_bytes, tree(pids)))


def mebibytes(number: int) -> str:
    """Return bytes for people."""
    return f"{number / 2**20:.0f} MiB"


def tree(pids: Iterable[int]) -> set[int]:
    """Return these processes and all below them that live now."""
    found: set[int] = set()
    waiting = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                children += map(int, (thread / "children").read_text().split())
    return children


def _process_bytes(pid: int) -> int:
    folder = Path(f"/proc/{pid}")
    try:
        now = _fields(folder / "smaps_rollup", ("Rss", "Pss"))
        peak = _fields(folder / "status", ("VmHWM",)).get("VmHWM", 0)
        (folder / "clear_refs").write_text(RESET_PEAK)
    except OSError:
        return _resident_bytes(folder)
    if not now:
        return 0
    return 1024 * (now["Pss"] + max(0, peak - now["Rss"]))


def _resident_bytes(folder: Path) -> int:
    """Return what counts where another user's process hides the rest."""
    try:
        return 1024 * _fields(folder / "status", ("VmRSS",)).get("VmRSS", 0)
    except OSError:
        return 0


def _fields(path: Path, names: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            found[name] = int(rest.split()[0])
    return found
