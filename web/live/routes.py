"""The live page. Its stream and its polling fallback belong to the API."""

from __future__ import annotations

from flask import Blueprint, render_template, request

blueprint = Blueprint("live", __name__, url_prefix="/live")


@blueprint.get("")
def page() -> str:
    """Show messages as they arrive, of one device or one topic filter where asked."""
    return render_template("live/page.html", device=request.args.get("device", ""), topic=request.args.get("topic", ""))
