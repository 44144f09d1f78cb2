"""Every setting of the application: one table, one reader, one help text.

An entry point calls `load()` once and passes the frozen result on; nothing else reads the
environment. A bad environment is reported whole: one line for each bad value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from settings.setting import Process, Setting
from settings.table import TABLE
from settings.together import problems_together

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TABLE", "Process", "Setting", "Settings", "SettingsError", "load"]


class SettingsError(ValueError):
    """The environment cannot be used; `problems` holds one line for each bad value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings:
    """The values of the table as attributes in lower case (`settings.redis_url`); frozen.

    Raises AttributeError for a name that is not in the table or not used by the process it was loaded for.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are frozen: {name}")

    def __getattr__(self, name: str) -> Any:  # tells type checkers that attributes come from the table
        raise AttributeError(f"no setting {name.upper()} for this process")

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some values changed (for tests and embedding)."""
        return Settings({**self.__dict__, **changes})


def _value(setting: Setting, environ: Mapping[str, str]) -> str | None:
    for name in (*setting.aliases, setting.name):
        if environ.get(name, "") != "":
            return environ[name]
    return setting.default


def load(environ: Mapping[str, str], process: Process) -> Settings:
    """Read the settings that `process` uses from `environ`.

    Raises SettingsError with one line for each value that is missing or bad, secrets not shown.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    reader = "tcp" if process == "store" else process
    for setting in TABLE:
        if reader not in setting.used_by:
            continue
        text = _value(setting, environ)
        if not text:
            if text is None and reader in setting.required_by:
                problems.append(f"{setting.name} is not set. {setting.help}")
            values[setting.name.lower()] = ""
            continue
        try:
            values[setting.name.lower()] = setting.parse(text)
        except ValueError as error:
            is_shown = not (setting.is_secret or "\n" in text or "@" in text)  # an address may hold a password
            shown = repr(text) if is_shown else "its value"
            problems.append(f"{setting.name}: {shown} cannot be used: {error}.")
    if process == "tcp":
        problems += problems_together(values)
    if problems:
        raise SettingsError(problems)
    return Settings(values)
