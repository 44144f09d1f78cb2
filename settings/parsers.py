"""How the text of a setting becomes its value. Every parser raises ValueError with what to do instead; values are not shown."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from store.address import PERCENT_ENCODE, parse_address
from store.influx_address import parse_influx_url

if TYPE_CHECKING:
    from collections.abc import Callable

MONGO_FORMS = "use mongodb://USER:PASSWORD@HOST:PORT/DATABASE or mongodb+srv://USER:PASSWORD@HOST/DATABASE"


def any_text(value: str) -> str:
    """Return any text as it is."""
    return value


def flag(value: str) -> bool:
    """Return whether it says yes."""
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def device_topics(value: str) -> tuple[str, ...]:
    """Return topic patterns, each with `{device}` as one level."""
    patterns = tuple(part.strip() for part in value.split(",") if part.strip())
    for pattern in patterns:
        levels = pattern.split("/")
        if levels.count("{device}") != 1:
            raise ValueError(f"{pattern!r} needs {{device}} as exactly one whole level, as in devices/{{device}}/#")
        if "#" in levels[:-1]:
            raise ValueError(f"{pattern!r} may have # only as its last level")
    return patterns


def between(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return int(value)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of one of some words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"use one of {', '.join(choices)}")
        return value

    return parse


def redis_url(value: str) -> str:
    """Return the address of Redis (`store.address`)."""
    parse_address(value)
    return value


CHECK_MONGO_URL = """
import sys
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri
try:
    print(len(parse_uri(sys.stdin.read())["nodelist"]))
except (PyMongoError, ValueError):  # their texts may quote a part of the password
    sys.exit(1)
"""


def mongo_url(value: str) -> str:
    """Return the address of MongoDB."""
    # The servers behind a name are not looked up here; all else is written as for one server.
    scheme, is_srv, rest = value.partition("mongodb+srv://")
    address = f"mongodb://{rest}" if is_srv and not scheme else value
    # In a process of its own: pymongo takes 16 MB, and neither the broker nor the projector needs it again.
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-c", CHECK_MONGO_URL], input=address, capture_output=True, text=True, check=False
    )
    try:
        urlsplit(value)
        servers = int(checked.stdout)
    except ValueError:
        raise ValueError(f"{MONGO_FORMS}; {PERCENT_ENCODE}") from None
    host = rest.partition("/")[0].rpartition("@")[2]
    if is_srv and (servers != 1 or ":" in host):
        raise ValueError("mongodb+srv:// takes one HOST without a port")
    if "#" in value:
        raise ValueError(PERCENT_ENCODE)
    return value


def influx_url(value: str) -> str:
    """Return the address of InfluxDB (`store.influx_address`)."""
    parse_influx_url(value)
    return value


def tcp_url(value: str) -> str:
    """Return the public address of the broker, which needs a host and a port to be of use."""
    try:
        parts = urlsplit(value if "//" in value else f"tcp://{value}")
        is_good = bool(parts.hostname and parts.port) and not parts.username and " " not in value
    except ValueError:  # an odd port, or half an IPv6 address
        is_good = False
    if not is_good:
        raise ValueError("use tcp://HOST:PORT, where devices reach the broker")
    return value


def influx_token(value: str) -> str:
    """Return a token that a header can hold."""
    if not re.fullmatch("[!-~]+", value):
        raise ValueError("a token has no spaces and no characters beyond ASCII")
    return value


def measurement(value: str) -> str:
    """Return a name that line protocol takes as it is."""
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError("use letters, digits, '.', '-' and '_', and begin with a letter or a digit")
    return value


def _pem(value: str) -> str:
    """Return PEM text; what does not look like it is the path of a file that holds it."""
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text("ascii")
    except (OSError, ValueError) as error:  # ValueError: a name no file can have, or bytes that no text has
        raise ValueError(f"it is neither PEM text nor a file with it ({getattr(error, 'strerror', error)})") from None


def certificates(value: str) -> str:
    """Return certificates as PEM text, of the value or of the file it names."""
    text = _pem(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("it does not hold certificates in PEM form") from None
    return text


def private_key(value: str) -> str:
    """Return a private key as PEM text, of the value or of the file it names."""
    text = _pem(value)
    if not re.search("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----", text):
        raise ValueError("it does not hold a private key in PEM form")
    return text
