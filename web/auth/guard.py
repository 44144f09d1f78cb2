"""Every page needs a session unless it is listed here; the API and the health checks have rules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, redirect, request, url_for

from web.auth import ended_sessions

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response as BaseResponse

OPEN_ENDPOINTS = frozenset({"auth.login"})
OPEN_BLUEPRINTS = frozenset({"api", "health"})


def register(app: Flask) -> None:
    """Put the guard before every request of `app`."""
    app.before_request(_require_session)


def is_logged_in() -> bool:
    """Return whether this request carries a session of the operator. Raises redis.RedisError."""
    return ended_sessions.is_going_on()


def _require_session() -> BaseResponse | None:
    if request.endpoint in OPEN_ENDPOINTS or request.blueprint in OPEN_BLUEPRINTS or is_logged_in():
        return None
    if request.path.startswith("/api/"):
        return None  # an unknown address of the API: 404 in its own form
    if "HX-Request" in request.headers:
        return Response(status=204, headers={"HX-Redirect": url_for("auth.login")})
    target = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return redirect(url_for("auth.login", next=target))
