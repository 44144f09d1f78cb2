"""The Procfile's `tcp` line: what a container runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TCP_LINE = re.compile(r"^\s*tcp:[ \t]*(\S.*?)\s*$", re.MULTILINE)


def tcp_command(path: Path) -> str:
    """Return the command of the process type `tcp`. Raises ValueError when there is none or no such file."""
    try:
        found = TCP_LINE.search(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if found is None:
        raise ValueError(f"{path} has no line `tcp: COMMAND`: the gateway has nothing to start")
    return found[1]
