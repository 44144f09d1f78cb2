"""/healthz: this process answers. /readyz: the store does too, within about a second, and takes messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from web import current

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say that the process lives; asks nobody."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Say whether the store answers and takes messages: 200 or 503."""
    status, reason = current.query().readiness_and_reason()
    said = {"status": status, "reason": reason} if reason else {"status": status}
    return said, 200 if status == "ready" else 503
