"""The web process's environment, read at its start by `web.wsgi` and by gunicorn's configuration."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from settings import SettingsError, load

if TYPE_CHECKING:
    from settings import Settings


def settings_or_exit() -> Settings:
    """Load the settings of the web process, or end the process with one line on stderr for each bad value."""
    try:
        return load(os.environ, "web")  # noqa: TID251  an entry point's own reading
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        raise SystemExit(1) from None
