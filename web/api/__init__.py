"""The JSON API under /api/v1, and the page that explains it.

Errors are always {"error": {"code", "message"}}; times RFC 3339 in UTC with milliseconds.
"""

from web.api import device_routes, export_routes, fleet_routes, live_routes, reference, storage_routes
from web.api.blueprint import blueprint

__all__ = ["blueprint", "device_routes", "export_routes", "fleet_routes", "live_routes", "reference", "storage_routes"]
