"""Limit of failed log-ins, on the page and in the API together, counted in the store for all containers.

Only failures count, so that an operator's own scripts are never slowed. The address is the one the
platform's HTTP router reports (one hop). While the store is away, each process counts for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.storage import RedisStorage

from web import api

if TYPE_CHECKING:
    from flask import Flask, Response

FAILED_LOGINS = "10 per minute"


class ClientStorage(RedisStorage):
    """The library's storage in Redis over a client that is there already, whatever kind of store it leads to."""

    STORAGE_SCHEME = ["client"]  # noqa: RUF012  as its base declares it
    SCRIPT_INCR_EXPIRE = b"#!lua flags=allow-oom\n" + RedisStorage.SCRIPT_INCR_EXPIRE  # counts also while Redis is full

    def __init__(self, uri: str, client: redis.Redis, **_: Any) -> None:
        super(RedisStorage, self).__init__(uri)  # its own would make a client from `uri`
        self.key_prefix = self.PREFIX
        self.target_server, self.dependency, self.storage = "redis", redis, client
        self.initialize_storage(uri)


def register(app: Flask, client: redis.Redis) -> None:
    """Put the limit on the log-in page and on the whole API of `app`; `client` leads to the store."""
    limiter = Limiter(
        get_remote_address,
        app=app,
        storage_uri="client://",
        storage_options={"client": cast("Any", client)},
        key_prefix="web",
        in_memory_fallback_enabled=True,
    )
    failed_logins = limiter.shared_limit(FAILED_LOGINS, scope="failed-logins", deduct_when=_is_refused)
    views: dict[str, Any] = app.view_functions
    views["auth.login"] = failed_logins(views["auth.login"])
    failed_logins(api.blueprint)  # as a whole: its guard refuses before any view


def _is_refused(response: Response) -> bool:
    return response.status_code == 401
