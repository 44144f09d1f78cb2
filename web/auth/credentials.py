"""The one pair of credentials, compared in constant time, and where to go after the log-in."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from web import current
from web.auth import failed_logins

if TYPE_CHECKING:
    from settings import Settings
    from web.auth.failed_logins import Guessed


def are_right(username: str, password: str) -> bool:
    """Return whether these open the dashboard. Raises TooManyRequests where too many from this address did not."""
    settings = current.settings()
    guessed: Guessed = "operator" if username == settings.dashboard_username else "other name"
    failed_logins.require_patience(guessed)
    if are_valid(settings, username, password):
        return True
    failed_logins.count(guessed)
    return False


def is_right_token(token: str) -> bool:
    """Return whether this opens the API. Raises TooManyRequests for a wrong one, where too many from this address were.

    The right one is never refused: with the length that API_TOKEN has to have, nobody guesses it.
    """
    if is_api_token(current.settings(), token):
        return True
    failed_logins.require_patience("token")
    failed_logins.count("token")
    return False


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
