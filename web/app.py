"""The application factory: settings in, a complete WSGI application out.

Nothing here reads the environment or connects to the store: connections open with the first question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from store.connection import connect
from store.query import Query
from web import (
    api,
    assets,
    auth,
    devices,
    errors,
    headers,
    health,
    live,
    overview,
    presentation,
    sessions,
    storage,
)
from web.api.device_path import DeviceIdConverter, EscapedDevicePath
from web.exports import Exports
from web.live.tailer import Tailer
from web.serving.whole_request import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from settings import Settings

LIVE_HEARTBEAT_S = 15.0  # s; the platform's router ends a response that is silent for 59 s
STORE_TIMEOUT_S = 3.0  # a page without its data after that is better answered with 503


def create_app(settings: Settings, query: Query | None = None) -> Flask:
    """Build the dashboard for `settings` (loaded for the web process), asking `query` or else the store they name."""
    app = Flask("web", static_folder=None)
    connection = connect(settings, timeout_s=STORE_TIMEOUT_S, retries=1)
    app.config.update(_config(settings))
    app.extensions["settings"] = settings
    app.extensions["query"] = query or Query(connection, settings)
    app.extensions["exports"] = Exports(connection, settings)
    app.extensions["tailer"] = Tailer(app.extensions["query"], _stream_cap(settings))
    app.url_map.converters["device"] = DeviceIdConverter
    app.session_interface = sessions.SchemeAwareSessions()
    CSRFProtect(app)
    for room in (health, auth, overview, devices, live, storage, api, api.reference):
        app.register_blueprint(room.blueprint)
    for room in (presentation, errors, headers, auth.guard):
        room.register(app)
    auth.failed_logins.register(app, connection)
    auth.ended_sessions.register(app, connection)
    _wrap(app)
    return app


def _config(settings: Settings) -> dict[str, Any]:
    return {
        "SECRET_KEY": sessions.signing_key(settings),
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": sessions.LIFETIME,
        "WTF_CSRF_TIME_LIMIT": None,  # a token lives as long as its session: a login page may stay open overnight
        "MAX_CONTENT_LENGTH": MAX_REQUEST_BYTES,
        "LIVE_HEARTBEAT_S": LIVE_HEARTBEAT_S,
    }


def _stream_cap(settings: Settings) -> int:
    """Return how many streams a process serves: LIVE_STREAMS, but never the threads that pages need."""
    spare_threads = max(2, settings.web_threads // 4)
    return int(max(0, min(settings.live_streams, settings.web_threads - spare_threads)))


def _wrap(app: Flask) -> None:
    """Stack the WSGI middleware: static files outermost, then the router's headers, then escaped device ids."""
    app.wsgi_app = EscapedDevicePath(app.wsgi_app)  # type: ignore[method-assign]
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    assets.register(app)
