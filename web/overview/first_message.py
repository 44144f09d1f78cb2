"""The command that sends a first message, made of what this application is really reached by. Never a password in it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from settings import Settings

LOCAL = ("127.0.0.1", 1883)
PAYLOAD = '{"temperature": 21.5, "humidity": 48}'
LEVELS = {"{device}": "my-first-device", "+": "my-site", "#": "telemetry"}


def command(settings: Settings) -> str:
    """Return a mosquitto_pub command to paste into a shell that knows MQTT_PASSWORD."""
    host, port = broker_address(settings.tcp_url)
    words = ["mosquitto_pub", "-h", host, "-p", str(port)]
    credentials = ""
    if settings.mqtt_username:
        credentials = f' -u {shlex.quote(settings.mqtt_username)} -P "$MQTT_PASSWORD"'
    message = shlex.join(["-q", "1", "-t", topic_name(settings), "-m", PAYLOAD])
    return f"{shlex.join(words)}{credentials} \\\n  {message}"


def broker_address(tcp_url: str) -> tuple[str, int]:
    """Return host and port of TCP_URL, as the platform's gateway sets it; of this machine where it is not set."""
    parts = urlsplit(tcp_url if "//" in tcp_url else f"tcp://{tcp_url}")
    try:
        return (parts.hostname, parts.port) if parts.hostname and parts.port else LOCAL
    except ValueError:  # a port that is no number
        return LOCAL


def topic_name(settings: Settings) -> str:
    """Return a topic name that the first of DEVICE_TOPICS recognizes."""
    pattern = settings.device_topics[0] if settings.device_topics else "devices/{device}/#"
    return "/".join(LEVELS.get(level, level) for level in pattern.split("/"))
