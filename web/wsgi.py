"""Entry point of the web process: `gunicorn --config web/gunicorn.conf.py web.wsgi:app`."""

from __future__ import annotations

from web.app import create_app
from web.environment import settings_or_exit

app = create_app(settings_or_exit())
