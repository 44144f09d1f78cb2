"""The dashboard: a Flask application that reads the store and shows it. It never imports the broker.

`create_app(settings)` builds it; each folder is a blueprint; `web.wsgi` is the entry point.
"""

from web.app import create_app

__all__ = ["create_app"]
