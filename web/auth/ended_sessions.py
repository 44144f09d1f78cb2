"""Sessions that were ended before their cookie expires, kept in the store so that every web process knows them.

A cookie carries its session's id. A log-out writes one key, which goes when the last cookie of that session has expired; only
who has a session can write one. While the store does not answer, pages that need a session answer 503 (fail closed), and so
does a log-out, which then has not happened.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, cast

from flask import current_app, g, session

from web.sessions import LIFETIME

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis
    from flask import Flask

ID_BYTES = 16
KEPT_S = int(LIFETIME.total_seconds()) + 3600  # an answer that is under way at the log-out may renew the cookie
END = "#!lua flags=allow-oom\nredis.call('SET', KEYS[1], 1, 'EX', ARGV[1])"  # a log-out has to work while Redis is full


def register(app: Flask, client: redis.Redis) -> None:
    """Let `app` know which sessions have ended; `client` leads to the store."""
    app.extensions["ended_sessions"] = client


def begin() -> None:
    """Begin a session in this browser."""
    session.clear()
    session.permanent = True
    session["id"] = secrets.token_urlsafe(ID_BYTES)


def is_going_on() -> bool:
    """Return whether this request carries a session that nobody has ended. Raises redis.RedisError."""
    if "id" not in session:
        return False
    if "is_going_on" not in g:
        g.is_going_on = not _is_ended(_client(), session["id"])
    if not g.is_going_on:
        session.clear()
    return bool(g.is_going_on)


def end() -> None:
    """End this request's session for everybody who has a copy of its cookie. Raises redis.RedisError: it goes on."""
    if "id" in session:
        _client().eval(END, 1, _key(session["id"]), str(KEPT_S))
    session.clear()


def ended_check() -> Callable[[], bool]:
    """Return a question that can be asked after this request: has its session ended? Not if it came without one.

    It raises redis.RedisError.
    """
    client, session_id = _client(), session.get("id")
    return lambda: session_id is not None and _is_ended(client, session_id)


def _client() -> redis.Redis:
    return cast("redis.Redis", current_app.extensions["ended_sessions"])


def _is_ended(client: redis.Redis, session_id: str) -> bool:
    return bool(client.exists(_key(session_id)))


def _key(session_id: str) -> str:
    return f"{{web}}:ended:{session_id}"
