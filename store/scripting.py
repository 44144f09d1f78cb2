"""Lua scripts that the store runs: files in `scripts/`, known to the store by the SHA-1 of their text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Script:
    """A script's text, and the name under which EVALSHA finds it once it is loaded."""

    source: str
    sha: str


def load_script(*names: str) -> Script:
    """Read scripts/NAME.lua; several names make one script of their texts in that order."""
    folder = resources.files("store") / "scripts"
    source = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
