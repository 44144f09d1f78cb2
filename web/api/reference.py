"""The API explained to people, from the same document that machines read."""

from __future__ import annotations

from flask import Blueprint, render_template

from web import current
from web.api.openapi import document

blueprint = Blueprint("reference", __name__)


@blueprint.get("/api")
def page() -> str:
    """Show every operation with its parameters and an example."""
    described = document()
    return render_template("api/reference.html", document=described, has_token=bool(current.settings().api_token))
