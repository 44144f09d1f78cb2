"""Who may connect: one user name and password for all devices, or everybody."""

from __future__ import annotations

import hmac


class PasswordAuthenticator:
    """Checks CONNECT's user name and password against the configured pair, in constant time."""

    def __init__(self, username: str, password: str, *, allow_anonymous: bool) -> None:
        self._username = username.encode()
        self._password = password.encode()
        self._allow_anonymous = allow_anonymous

    def is_allowed(self, username: str | None, password: bytes | None) -> bool:
        """Tell whether a client with these credentials (None: not sent) may connect."""
        if not self._username:
            return self._allow_anonymous
        if username is None and password is None:
            return self._allow_anonymous
        # Both are compared whatever the first says, so that timing does not tell which one was wrong.
        is_name = hmac.compare_digest((username or "").encode(), self._username)
        is_password = hmac.compare_digest(password or b"", self._password)
        return is_name and is_password
