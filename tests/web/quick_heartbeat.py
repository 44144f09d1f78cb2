"""The dashboard's entry point with a heartbeat that a test can wait for."""

from __future__ import annotations

from web.wsgi import app

app.config["LIVE_HEARTBEAT_S"] = 0.2
