"""The fleet's command line: arguments in, one frozen `Options` out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DESCRIPTION = """Emulate devices that publish JSON telemetry to devices/ID/telemetry and their presence, retained, to
devices/ID/status. A device that is not connected, or has WINDOW messages unacknowledged, takes no reading (counted as
skipped). Ends with a summary; the exit status is 1 when a message was not acknowledged."""

DEFAULT_PORT = 1883


@dataclass(frozen=True)
class Options:
    """What one run of the fleet does. `duration_s` None: until it is stopped."""

    host: str
    port: int
    username: str
    password: str
    devices: int
    rate: float
    duration_s: float | None
    seed: int
    qos: Literal[0, 1, 2]
    protocol: Literal["3.1.1", "5"]
    is_persistent: bool
    prefix: str
    keep_alive_s: int
    window: int
    connect_timeout_s: float
    drain_timeout_s: float
    is_quiet: bool


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the fleet's arguments to `parser`."""
    add = parser.add_argument
    add("--url", required=True, metavar="tcp://[USER:PASSWORD@]HOST[:PORT]", help="where the broker is")
    add("--username", help="user name of every device; wins over the URL's")
    add("--password", help="password of every device; wins over the URL's")
    add("--password-env", metavar="NAME", help="environment variable that holds the password (keeps it out of ps)")
    add("--devices", type=_count, default=10, metavar="N", help="devices in the fleet (default 10)")
    add("--rate", type=_positive, default=10.0, metavar="R", help="messages/s of the whole fleet (default 10)")
    add("--duration", type=_positive, metavar="S", help="seconds to publish (default: until stopped)")
    add("--seed", type=int, default=1, metavar="K", help="the same seed gives the same readings (default 1)")
    add("--qos", type=int, choices=(0, 1, 2), default=1, help="quality of service of all messages (default 1)")
    add("--protocol", choices=("3.1.1", "5"), default="5", help="MQTT version (default 5)")
    add("--persistent", action="store_true", help="sessions outlive their connections (default: clean sessions)")
    add("--prefix", default="sensor", help="device ids are PREFIX-0001 and so on (default sensor)")
    add("--keep-alive", type=_count, default=60, metavar="S", help="keep alive in seconds (default 60)")
    add("--window", type=_count, default=20, metavar="N", help="unacknowledged messages of one device (default 20)")
    add("--connect-timeout", type=_positive, default=10.0, metavar="S", help="time for one connect (default 10)")
    add("--drain-timeout", type=_positive, default=10.0, metavar="S", help="time for the last acknowledgements (10)")
    add("--quiet", action="store_true", help="no progress lines; the summary only")


def read(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Return the options of a parsed command line. Raises ValueError with one line that names the bad argument."""
    host, port, username, password = _parts(given.url)
    if given.password_env and given.password_env not in environ:
        raise ValueError(f"--password-env: {given.password_env} is not set")
    if any(character in given.prefix for character in "/+#\0") or not given.prefix:
        raise ValueError("--prefix: needs at least one character, and none of / + #")
    from_environ = environ.get(given.password_env, "") if given.password_env else ""
    return Options(
        host=host,
        port=port,
        username=given.username or username,
        password=given.password or from_environ or password,
        devices=given.devices,
        rate=given.rate,
        duration_s=given.duration,
        seed=given.seed,
        qos=given.qos,
        protocol=given.protocol,
        is_persistent=given.persistent,
        prefix=given.prefix,
        keep_alive_s=given.keep_alive,
        window=given.window,
        connect_timeout_s=given.connect_timeout,
        drain_timeout_s=given.drain_timeout,
        is_quiet=given.quiet,
    )


def _parts(url: str) -> tuple[str, int, str, str]:
    # The URL is not repeated in the message: it may hold a password.
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise ValueError(f"--url: {error}") from None
    if parts.scheme not in ("tcp", "mqtt") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("--url: use tcp://HOST:PORT or tcp://USER:PASSWORD@HOST:PORT")
    return parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or "")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or number <= 0:
        raise ValueError
    return number


_count.__name__, _positive.__name__ = "whole number above 0", "number above 0"  # argparse puts these in its messages
