"""Signed session cookies: their key, their lifetime, and whether they travel over HTTPS only."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING

from flask import request
from flask.sessions import SecureCookieSessionInterface

if TYPE_CHECKING:
    from flask import Flask

    from settings import Settings

LIFETIME = timedelta(hours=12)


class SchemeAwareSessions(SecureCookieSessionInterface):
    """Cookies marked Secure exactly where the request came over HTTPS, so that plain localhost works too."""

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002  the signature is Flask's
        """Return whether the cookie of this response may only travel over HTTPS."""
        return request.is_secure


def signing_key(settings: Settings) -> bytes:
    """Derive the cookies' key from SECRET_KEY and the credentials: changing any of them ends every session."""
    credentials = f"{settings.dashboard_username}\0{settings.dashboard_password}"
    return hmac.digest(settings.secret_key.encode(), credentials.encode(), hashlib.sha256)
