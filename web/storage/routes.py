"""The storage page, and the part of it that is asked for again every ten seconds."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from store.memory import SHED_ABOVE
from web import current
from web.storage.kinds import in_words, rows

blueprint = Blueprint("storage", __name__)


@blueprint.get("/storage")
def page() -> str:
    """Show what the store holds, what bounds it, and where it goes from there."""
    return render_template("storage/page.html", **_facts())


@blueprint.get("/storage/part")
def part() -> str:
    """Show what changes on it."""
    return render_template("storage/part.html", **_facts())


def _facts() -> dict[str, Any]:
    query, settings = current.query(), current.settings()
    found = query.capacity()
    return {
        "capacity": found,
        "rows": rows(found.uses, settings, found.budget_bytes or found.used_bytes),
        "outlets": query.outlets(),
        "warnings": query.store_status().warnings,
        "store_bytes": in_words("STORE_BYTES", settings.store_bytes),
        "has_store_bytes": bool(settings.store_bytes),
        "shed_above": SHED_ABOVE,
    }
