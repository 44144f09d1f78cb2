"""Credentials of the local application: made up once, kept in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ALPHABET = string.ascii_letters + string.digits  # nothing that a shell or a URL would need escaped
PASSWORD_CHARACTERS = 20
OWNER_ONLY = 0o600


def _password() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_CHARACTERS))


def load_or_create(path: Path) -> dict[str, str]:
    """Return the credentials in `path`, adding to it what is missing. Its mode is 600 afterwards.

    Raises ValueError naming a line that is not NAME=value.
    """
    kept = _read(path) if path.exists() else {}
    credentials = {
        "MQTT_USERNAME": "device",
        "MQTT_PASSWORD": _password(),
        "DASHBOARD_USERNAME": "admin",
        "DASHBOARD_PASSWORD": _password(),
        "SECRET_KEY": secrets.token_hex(32),
        **kept,
    }
    if credentials != kept:
        _write(path, credentials)
    path.chmod(OWNER_ONLY)
    return credentials


def _read(path: Path) -> dict[str, str]:
    credentials = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{path} line {number} is not NAME=value: mend it, or delete the file for new credentials")
        credentials[name] = value
    return credentials


def _write(path: Path, credentials: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in credentials.items())
    fresh.replace(path)  # in one step: a crash leaves the old file or the new one
