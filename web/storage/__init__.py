"""What the store holds, what bounds it, and how long it lasts."""

from web.storage.routes import blueprint

__all__ = ["blueprint"]
