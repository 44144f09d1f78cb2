"""The first page: the fleet's counters, its rate, the latest devices, and the health of store and broker."""

from web.overview.routes import blueprint

__all__ = ["blueprint"]
