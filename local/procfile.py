"""The Procfile: one `type: command` a line, as the platform reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LINE = re.compile(r"(?P<type>[A-Za-z0-9]+):\s*(?P<command>\S.*)")
RUN_ONCE = frozenset({"postdeploy"})  # the platform runs it after a deployment, not beside the others


def read_procfile(path: Path) -> dict[str, str]:
    """Return type -> command of the processes that keep running, in the file's order.

    Raises ValueError naming a line that is no process type, OSError when there is no such file.
    """
    processes: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = LINE.fullmatch(text)
        if found is None:
            raise ValueError(f"{path.name} line {number}: {text!r} is not `type: command`")
        if found["type"] not in RUN_ONCE:
            processes[found["type"]] = found["command"]
    return processes
