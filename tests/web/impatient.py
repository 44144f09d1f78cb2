"""The dashboard's entry point with time-outs that a test can wait for."""

from __future__ import annotations

from quick_heartbeat import app

from web.serving import worker

worker.SEND_TIMEOUT_S = 1
worker.CLIENT_TIMEOUT_S = 1.0

__all__ = ["app"]
