"""Where the store is: what REDIS_URL says. Pure: parses, connects to nothing.

    redis://[USER:PASSWORD@]HOST:PORT[/DATABASE]                       one server; rediss:// with TLS
    unix:///PATH                                                       one server
    redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT…               Redis Cluster, by some of its nodes
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT…/NAME[/DATABASE]   the master that Sentinels watch as NAME

`rediss+cluster://` and `rediss+sentinel://` use TLS. Options of redis-py may follow (`?ssl_ca_certs=PATH`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

Kind = Literal["server", "cluster", "sentinel"]
Server = tuple[str, int]
"""Host and port."""

DEFAULT_PORTS = {"server": 6379, "cluster": 6379, "sentinel": 26379}
FORMS = (
    "use redis://HOST:PORT, unix:///PATH, redis+cluster://HOST:PORT,HOST:PORT or "
    "redis+sentinel://HOST:PORT,HOST:PORT/NAME, with rediss for TLS"
)
PERCENT_ENCODE = (
    "in a user name or password percent-encode special characters: # as %23, / as %2F, ? as %3F, @ as %40, [ as %5B"
)
_NUMBERS = {"db", "health_check_interval", "max_connections", "protocol", "socket_connect_timeout", "socket_timeout"}


@dataclass(frozen=True)
class StoreAddress:
    """A parsed REDIS_URL. `servers` are nodes of the cluster, or Sentinels; `master_name` is what these call the master."""

    kind: Kind
    url: str
    servers: tuple[Server, ...] = ()
    master_name: str = ""

    @property
    def any_server_url(self) -> str:
        """The URL of the one server, or of some."""
        return self.url if self.kind == "server" else self.server_url(self.servers[0])

    def server_url(self, server: Server) -> str:
        """Return the URL of one of several servers, with this address's TLS, credentials, database and options."""
        netloc, parts = _split(self.url)
        credentials, at, _ = netloc.rpartition("@")
        host, port = server
        host = f"[{host}]" if ":" in host else host
        database = parts.path.strip("/").partition("/")[2]
        return urlunsplit(
            (parts.scheme.partition("+")[0], f"{credentials}{at}{host}:{port}", database, parts.query, "")
        )


def parse_address(url: str) -> StoreAddress:
    """Return what a URL says. Raises ValueError that names what would do and quotes nothing: a URL holds a password."""
    scheme, has_scheme, _ = url.partition("://")
    transport, _, kind = scheme.partition("+")
    if not has_scheme:
        raise ValueError(FORMS)
    if "#" in url or "@" in re.sub("^.*?://[^/?#]*", "", url):  # a password that ends the hosts' part too early
        raise ValueError(PERCENT_ENCODE)
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL has no spaces: write one in a user name or password as %20")
    if scheme == "unix":
        return _with_options(StoreAddress("server", url))
    address = _several_servers(url, transport, kind) if kind else _one_server(url, transport)
    try:
        urlsplit(address.any_server_url)
    except ValueError:
        raise ValueError(PERCENT_ENCODE) from None
    return _with_options(address)


def _one_server(url: str, transport: str) -> StoreAddress:
    if transport not in {"redis", "rediss"}:
        raise ValueError(FORMS)
    netloc, parts = _split(url)
    if "," in netloc.rpartition("@")[2]:
        raise ValueError("several hosts need redis+cluster:// or redis+sentinel://")
    _servers(netloc, "server")
    if not re.fullmatch("/?[0-9]*", parts.path):
        raise ValueError("after HOST:PORT only the number of a database may follow: redis://HOST:PORT/0")
    return StoreAddress("server", url)


def _several_servers(url: str, transport: str, kind: str) -> StoreAddress:
    if transport not in {"redis", "rediss"}:
        raise ValueError(FORMS)
    netloc, parts = _split(url)
    path = [part for part in parts.path.split("/") if part]
    if kind == "cluster":
        if path:
            raise ValueError("Redis Cluster has no database numbers: end the URL after the last HOST:PORT")
        return StoreAddress("cluster", url, _servers(netloc, kind))
    if kind == "sentinel":
        if not path:
            raise ValueError("name the master that the Sentinels watch: redis+sentinel://HOST:PORT,HOST:PORT/NAME")
        if len(path) > 2 or not all(each.isascii() and each.isdigit() for each in path[1:]):
            raise ValueError("after /NAME only the number of a database may follow: redis+sentinel://HOST:PORT/NAME/0")
        return StoreAddress("sentinel", url, _servers(netloc, kind), path[0])
    raise ValueError(FORMS)


def _with_options(address: StoreAddress) -> StoreAddress:
    """Return the address, if redis-py will take its options."""
    for name, value in parse_qsl(urlsplit(address.any_server_url).query, keep_blank_values=True):
        if name in _NUMBERS and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
            raise ValueError(f"the option {name} has to be a number")
    return address


def _split(url: str) -> tuple[str, SplitResult]:
    """Return what stands between `//` and the path, and the URL without it: urlsplit may refuse lists with `[::1]`."""
    scheme, _, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    return netloc, urlsplit(f"{scheme}://{rest[len(netloc) :]}")


def _servers(netloc: str, kind: str) -> tuple[Server, ...]:
    return tuple(_server(each, DEFAULT_PORTS[kind]) for each in netloc.rpartition("@")[2].split(","))


def _server(text: str, default_port: int) -> Server:
    try:
        parts = urlsplit(f"//{text}")
        host = parts.hostname or ""
        host.encode("idna")
    except ValueError:  # UnicodeError is one
        raise ValueError(
            f"a host is no name and no address (of IPv6 in brackets, as in [::1]); {PERCENT_ENCODE}"
        ) from None
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"a port has to be a number up to 65535, after HOST:; {PERCENT_ENCODE}") from None
    if not host:
        raise ValueError(f"a host is missing: HOST:PORT,HOST:PORT; {PERCENT_ENCODE}")
    return host, port or default_port
