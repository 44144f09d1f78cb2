"""Limit of failed log-ins, on the page and in the API together, counted in the store for all containers.

Only failures count, so that an operator's own scripts are never slowed. The address is the one the
platform's HTTP router reports (one hop). While the store is away, each process counts for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from web import api

if TYPE_CHECKING:
    from flask import Flask, Response

    from settings import Settings

FAILED_LOGINS = "10 per minute"


def register(app: Flask, settings: Settings, connection_pool: Any) -> None:
    """Put the limit on the log-in page and on the whole API of `app`."""
    limiter = Limiter(
        get_remote_address,
        app=app,
        storage_uri=_storage_uri(settings.redis_url),
        storage_options={"connection_pool": connection_pool},
        key_prefix="web",
        in_memory_fallback_enabled=True,
    )
    failed_logins = limiter.shared_limit(FAILED_LOGINS, scope="failed-logins", deduct_when=_is_refused)
    views: dict[str, Any] = app.view_functions
    views["auth.login"] = failed_logins(views["auth.login"])
    failed_logins(api.blueprint)  # as a whole: its guard refuses before any view


def _storage_uri(redis_url: str) -> str:
    """Spell a store's URL as the library of limits does: it takes `unix://` only as `redis+unix://`."""
    return f"redis+{redis_url}" if redis_url.startswith("unix://") else redis_url


def _is_refused(response: Response) -> bool:
    return response.status_code == 401
