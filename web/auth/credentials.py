"""The one pair of credentials, compared in constant time, and where to go after the log-in."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from settings import Settings


def are_valid(settings: Settings, username: str, password: str) -> bool:
    """Return whether these are the dashboard's credentials; takes as long for a wrong name as for a wrong password."""
    is_name = hmac.compare_digest(username.encode(), settings.dashboard_username.encode())
    is_password = hmac.compare_digest(password.encode(), settings.dashboard_password.encode())
    return is_name & is_password


def is_api_token(settings: Settings, token: str) -> bool:
    """Return whether this is the API's bearer token; never when none is set."""
    return bool(settings.api_token) and hmac.compare_digest(token.encode(), settings.api_token.encode())


def local_path(target: str) -> str:
    """Return `target` where it is a path of this site, else "/": a log-in never sends a browser elsewhere."""
    has_odd_character = any(character == "\\" or not character.isprintable() for character in target)
    if not target.startswith("/") or target.startswith("//") or has_odd_character:
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc else target
