"""Where InfluxDB is: what INFLUX_URL says. Pure: parses, connects to nothing.

    http://[USER:PASSWORD@]HOST[:PORT]/DATABASE       InfluxDB 1.x
    http://HOST[:PORT]?org=ORG&bucket=BUCKET          InfluxDB 2.x, with INFLUX_TOKEN

`https://` uses TLS. Special characters of a name or password are percent-encoded, as in every URL.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from store.address import PERCENT_ENCODE

FORMS = "use http://USER:PASSWORD@HOST:PORT/DATABASE (InfluxDB 1.x) or http://HOST:PORT?org=ORG&bucket=BUCKET (2.x), or https"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class InfluxAddress:
    """A parsed INFLUX_URL. `database` is empty for 2.x; `org` and `bucket` are for 1.x."""

    host: str
    port: int
    is_tls: bool
    database: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    org: str = ""
    bucket: str = ""

    @property
    def needs_token(self) -> bool:
        """Whether INFLUX_TOKEN has to be set: InfluxDB 2.x knows no user and password."""
        return bool(self.bucket)

    @property
    def write_target(self) -> str:
        """Path and query that points are posted to, with times in nanoseconds."""
        if self.bucket:
            return "/api/v2/write?" + urlencode({"org": self.org, "bucket": self.bucket, "precision": "ns"})
        return "/write?" + urlencode({"db": self.database, "precision": "ns"})

    @property
    def create_target(self) -> str:
        """Path and query that create the database of 1.x, where it is missing and the user may."""
        name = self.database.replace("\\", "\\\\").replace('"', '\\"')
        return "/query?" + urlencode({"q": f'CREATE DATABASE "{name}"'})

    @property
    def server(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"

    def authorization(self, token: str) -> dict[str, str]:
        """Return the headers that say who writes."""
        if self.bucket:
            return {"Authorization": f"Token {token}"}
        if not self.user:
            return {}
        return {"Authorization": "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()}


def parse_influx_url(url: str) -> InfluxAddress:
    """Return what a URL says. Raises ValueError that names what would do and quotes nothing: a URL holds a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # UnicodeError is one
        raise ValueError(f"{FORMS}; {PERCENT_ENCODE}") from None
    if parts.scheme not in PORTS or not host or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(FORMS)
    if "#" in url or "@" in parts.path:  # a password that ends the host's part too early
        raise ValueError(PERCENT_ENCODE)
    where = {"host": host, "port": port or PORTS[parts.scheme], "is_tls": parts.scheme == "https"}
    return InfluxAddress(**where, **_names(parts))  # type: ignore[arg-type]


def _names(parts: SplitResult) -> dict[str, str]:
    database = unquote(parts.path.strip("/"))
    query = dict(parse_qsl(parts.query))
    if query.keys() == {"org", "bucket"} and not database and not parts.username:
        return query
    if not query and database and "/" not in database:
        return {"database": database, "user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    raise ValueError(FORMS)
