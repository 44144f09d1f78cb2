"""A fleet of devices that publish telemetry over MQTT: one process, one event loop, thousands of paho-mqtt clients."""
