"""Device ids in paths of the API: any characters, percent-encoded as one segment (RFC 3986 §2.1).

A WSGI server hands over a decoded path, in which `a%2Fb/messages` and `a/b/messages` look the same. For
these paths the middleware puts the escaped form back, so that the segment ends where its sender ended it.
The ids `.` and `..` cannot be written in a path (RFC 3986 §5.2.4 removes them); pages reach them by query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from werkzeug.routing import BaseConverter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/api/v1/devices/"


class EscapedDevicePath:
    """WSGI middleware: under PREFIX the application sees the path as the client escaped it."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Replace PATH_INFO where the server kept the request target as it came (RAW_URI)."""
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
        path = target.partition("?")[0] if target.startswith("/") else urlsplit(target).path
        if path.startswith(PREFIX) and path.isascii():
            environ["PATH_INFO"] = path
        return self._application(environ, start_response)


class DeviceIdConverter(BaseConverter):
    """One escaped segment of a path <-> a device id."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        """Unescape; no route matches where the result is not UTF-8."""
        try:
            return unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise ValidationError from None

    def to_url(self, value: str) -> str:
        """Escape everything that is not plain."""
        return quote(value, safe="")
