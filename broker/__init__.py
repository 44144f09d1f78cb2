"""The MQTT broker: `python -m broker`. Every message is in the store before it is acknowledged."""

__version__ = "0.1.0"
