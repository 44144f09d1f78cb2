"""The API's blueprint and its guard: HTTP Basic, a bearer token, or for GET the dashboard's own session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from web import errors
from web.api import parameters
from web.auth import credentials
from web.auth.guard import is_logged_in

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
REPEATABLE = {"api.export": ("device",)}
REFUSED = "Send HTTP Basic with the dashboard's credentials, or Authorization: Bearer with API_TOKEN."


@blueprint.before_request
def authenticate() -> None:
    """Let the request through if it says who it is. Raises ApiError: 401."""
    if not _is_authorized():
        raise errors.ApiError(401, "unauthorized", REFUSED)


@blueprint.before_request
def refuse_repeated_parameters() -> None:
    """Refuse a question of which only a part would be answered. Raises ApiError: 400."""
    parameters.refuse_repeated(*REPEATABLE.get(request.endpoint or "", ()))


@blueprint.after_request
def challenge(response: Response) -> Response:
    """Name the ways in on a 401; Basic is kept from the dashboard's own scripts, whose browser would ask in a dialog."""
    if response.status_code == 401:
        response.headers.add("WWW-Authenticate", 'Bearer realm="dashboard"')
        if request.headers.get("Sec-Fetch-Site") != "same-origin":
            response.headers.add("WWW-Authenticate", 'Basic realm="dashboard", charset="UTF-8"')
    return response


def _is_authorized() -> bool:
    given = request.authorization
    if given is None:
        return request.method in ("GET", "HEAD") and is_logged_in()
    if given.type == "bearer":
        return credentials.is_right_token(given.token or "")
    return given.type == "basic" and credentials.are_right(given.username or "", given.password or "")
