"""Connect to the store, be it one server, a cluster or what Sentinels watch: one place for time-outs, retries and quirks.

Nothing here does I/O but `find_master`: a client connects with its first command, and again whenever it has to.
The platform's server closes connections that are idle for 150 s, hence HEALTH_CHECK_S.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from store.address import parse_address
from store.redis_cluster import AsyncClusterClient, ClusterClient

if TYPE_CHECKING:
    from settings import Settings
    from store.address import Server, StoreAddress

CONNECT_TIMEOUT_S = 5
SOCKET_TIMEOUT_S = 10  # longer than any command blocks
FIND_TIMEOUT_S = 1.0  # for each server that is asked where a master is
HEALTH_CHECK_S = 30
RETRIES = 3
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=1)


def connect(settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S, retries: int = RETRIES) -> redis.Redis:
    """Return a client for threads. Its commands raise redis.RedisError after `retries` more attempts."""
    address = parse_address(settings.redis_url)
    options = {**_timeouts(timeout_s), "retry": Retry(BACKOFF, retries)}
    if address.kind == "cluster":
        return cast("redis.Redis", ClusterClient(lambda: _cluster(address, redis.RedisCluster, options)))
    if address.kind == "sentinel":
        return cast("redis.Redis", _sentinel(address, redis.sentinel.Sentinel, options).master_for(address.master_name))
    return redis.Redis.from_url(address.url, **options, **_login(address, _authenticate))


def connect_async(
    settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S, retries: int = RETRIES
) -> redis.asyncio.Redis:
    """Return a client for an event loop; `retries=0` for whoever must know of every outage. Close it with `aclose`."""
    address = parse_address(settings.redis_url)
    options = {**_timeouts(timeout_s), "retry": AsyncRetry(BACKOFF, retries)}
    if address.kind == "cluster":
        return cast("redis.asyncio.Redis", _cluster(address, AsyncClusterClient, options))
    if address.kind == "sentinel":
        sentinel = _sentinel(address, redis.asyncio.sentinel.Sentinel, options)
        return cast("redis.asyncio.Redis", sentinel.master_for(address.master_name, redis_class=_MasterClient))
    return redis.asyncio.Redis.from_url(address.url, **options, **_login(address, _authenticate_async))


async def find_master(address: StoreAddress, key: str) -> Server:
    """Return where the master is that holds `key`, as the cluster or the Sentinels say now. Raises redis.RedisError."""
    options = {**_timeouts(FIND_TIMEOUT_S), "retry": AsyncRetry(BACKOFF, 0)}
    if address.kind == "cluster":
        client = _cluster(address, AsyncClusterClient, options)
        try:
            await client.initialize()
            node = client.get_node_from_key(key)
        finally:
            await client.aclose()
        if node is None:
            raise redis.ConnectionError("the cluster has no master for this key")
        return node.host, int(node.port)
    sentinel = _sentinel(address, redis.asyncio.sentinel.Sentinel, options)
    try:
        host, port = await sentinel.discover_master(address.master_name)
    finally:
        for each in sentinel.sentinels:
            await each.aclose()
    return host, int(port)


class _MasterClient(redis.asyncio.Redis):
    """A client of the master that Sentinels name. Closed, it leaves no connection to them open, as redis-py's would."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for each in pool.sentinel_manager.sentinels:
            await each.aclose()


def _timeouts(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S),
        "health_check_interval": HEALTH_CHECK_S,
        "protocol": 2,
    }


def _cluster(address: StoreAddress, client_class: Any, options: dict[str, Any]) -> Any:
    """Return a client of a cluster that reads and writes at masters only, also while some slots have none."""
    is_async = issubclass(client_class, redis.asyncio.RedisCluster)
    node_class: Any = redis.asyncio.cluster.ClusterNode if is_async else redis.cluster.ClusterNode
    first, *others = random.sample(address.servers, len(address.servers))  # one that is cut off is not asked every time
    nodes = [node_class(*server) for server in others]
    return client_class.from_url(
        address.server_url(first), startup_nodes=nodes, require_full_coverage=False, **options
    )  # fmt: skip


def _sentinel(address: StoreAddress, sentinel_class: Any, options: dict[str, Any]) -> Any:
    """Return the Sentinels of an address. They are asked with the master's credentials, or without where they have none."""
    where: dict[str, Any] = dict(parse_url(address.any_server_url))
    for name in ("host", "port", "connection_class"):
        where.pop(name, None)
    where["ssl"] = address.url.startswith("rediss")
    is_async = issubclass(sentinel_class, redis.asyncio.sentinel.Sentinel)
    asking: dict[str, Any] = {name: value for name, value in where.items() if name != "db"}
    asking.update(_timeouts(FIND_TIMEOUT_S), retry=AsyncRetry(BACKOFF, 0) if is_async else Retry(BACKOFF, 0))
    if where.get("password"):
        asking["redis_connect_func"] = _ask_sentinel_async if is_async else _ask_sentinel
    return sentinel_class(address.servers, sentinel_kwargs=asking, **where, **options)


def _ask_sentinel(connection: Any) -> None:
    try:
        connection.on_connect()
    except redis.AuthenticationError:
        connection.username = connection.password = None
        connection.on_connect()


async def _ask_sentinel_async(connection: Any) -> None:
    try:
        await connection.on_connect()
    except redis.AuthenticationError:
        connection.username = connection.password = None
        await connection.on_connect()


def _login(address: StoreAddress, authenticate: Any) -> dict[str, Any]:
    return {"redis_connect_func": authenticate} if urlsplit(address.url).username else {}


# The platform's URLs may name a user that does not exist there; the password then is that of the default user.
# AUTH is refused with WRONGPASS either way, and the connection stays usable. (redis-py's asyncio client does not ask
# for this on Unix sockets, where the platform's URLs do not lead.)


def _authenticate(connection: Any) -> None:
    try:
        connection.on_connect()
    except redis.AuthenticationError:
        if not connection.username:
            raise
        connection.username = None
        connection.on_connect()


async def _authenticate_async(connection: Any) -> None:
    try:
        await connection.on_connect()
    except redis.AuthenticationError:
        if not connection.username:
            raise
        connection.username = None
        await connection.on_connect()
