"""What the command lines take in common: kinds of numbers for argparse, URLs, and passwords from the environment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


def positive(text: str) -> float:
    """Return a finite number above 0. Raises ValueError."""
    number = float(text)
    if not math.isfinite(number) or number <= 0:
        raise ValueError
    return number


positive.__name__ = "number above 0"  # argparse puts it in its messages


def password_from(argument: str, name: str | None, environ: Mapping[str, str]) -> str:
    """Return the password in the environment variable `name`, "" without a name. Raises ValueError."""
    if name and name not in environ:
        raise ValueError(f"{argument}: {name} is not set")
    return environ[name] if name else ""


def url_parts(
    argument: str, url: str, schemes: tuple[str, ...], scheme: str, default_port: int
) -> tuple[str, int, str, str]:
    """Return host, port, user name and password of a URL. Raises ValueError."""
    # The URL is not repeated in the message: it may hold a password.
    try:
        parts = urlsplit(url)
        port = parts.port or default_port
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
    if parts.scheme not in schemes or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"{argument}: use {scheme}://HOST:PORT or {scheme}://USER:PASSWORD@HOST:PORT")
    return parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or "")
