"""/healthz: this process answers. /readyz: the store does too, within about a second."""

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
    """Say whether the store answers: 200 or 503."""
    if not current.query().ping():
        return {"status": "store_unavailable"}, 503
    return {"status": "ready"}
