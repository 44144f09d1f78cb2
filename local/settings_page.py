"""Writes docs/settings.md from the settings table: `python -m local.settings_page`, or `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

from settings import TABLE, Setting

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
INTRODUCTION = """# Settings

Every setting is an environment variable, read once when a process starts. A bad value stops the start, with one line
for each. On the platform: `scalingo --app my-app env-set NAME=value` (the application restarts). Locally:
`NAME=value make run`.

`make docs` writes this page from `settings/table.py`.

| name | what it is | default | unit | read by |
|---|---|---|---|---|
"""


def settings_page() -> str:
    """Return the page as Markdown, one row for each setting in the table's order."""
    return INTRODUCTION + "".join(f"| {' | '.join(_cells(setting))} |\n" for setting in TABLE)


def _cells(setting: Setting) -> tuple[str, ...]:
    name = f"`{setting.name}`" + (" (secret)" if setting.is_secret else "")
    return name, re.sub(r"\|", r"\\|", setting.help), _default(setting), setting.unit, ", ".join(setting.used_by)


def _default(setting: Setting) -> str:
    if setting.default is None:
        return "required"
    return f"`{setting.default}`" if setting.default else "empty"


if __name__ == "__main__":
    PAGE.write_text(settings_page())
