"""The list of devices, and one device: its presence, values, topics, charts and messages."""

from web.devices.routes import blueprint

__all__ = ["blueprint"]
