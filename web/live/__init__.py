"""Messages as they arrive: one reader of the log for each process, and a bounded stream for each listener."""

from web.live.routes import blueprint

__all__ = ["blueprint"]
