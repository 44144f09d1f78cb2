"""The overview as a page, and as the part of it that is asked for again every two seconds."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from store.clock import wall_ms
from web import current
from web.overview import first_message

blueprint = Blueprint("overview", __name__)
LATEST_DEVICES = 8
LATE_MS = 5_000  # views this far behind the log are worth a word


@blueprint.get("/")
def page() -> str:
    """Show the overview, or how to send the first message while there is no device."""
    return render_template("overview/page.html", **_facts())


@blueprint.get("/overview")
def part() -> str:
    """Show what changes on it."""
    return render_template("overview/part.html", **_facts())


def _facts() -> dict[str, Any]:
    query, settings = current.query(), current.settings()
    return {
        "fleet": query.fleet(),
        "devices": query.devices(limit=LATEST_DEVICES).rows,
        "nodes": query.nodes(),
        "store": query.store_status(),
        "outlets": query.outlets(),
        "retention": query.retention(),
        "command": first_message.command(settings),
        "has_username": bool(settings.mqtt_username),
        "quiet_after_s": settings.quiet_after_s,
        "late_ms": LATE_MS,
        "now": wall_ms(),
    }
