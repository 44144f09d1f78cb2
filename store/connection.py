"""Connect to the store: one place for time-outs, retries and the platform's quirks.

Nothing here does I/O: a client connects with its first command, and again whenever it has to.
The server closes connections that are idle for 150 s, hence HEALTH_CHECK_S.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from settings import Settings

CONNECT_TIMEOUT_S = 5
SOCKET_TIMEOUT_S = 10  # longer than any command blocks
HEALTH_CHECK_S = 30
RETRIES = 3
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=1)


def connect(settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S, retries: int = RETRIES) -> redis.Redis:
    """Return a client for threads. Its commands raise redis.RedisError after `retries` more attempts."""
    options = _options(settings, timeout_s, _authenticate)
    return redis.Redis.from_url(settings.redis_url, retry=Retry(BACKOFF, retries), **options)


def connect_async(
    settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S, retries: int = RETRIES
) -> redis.asyncio.Redis:
    """Return a client for an event loop; `retries=0` for whoever must know of every outage. Close it with `aclose`."""
    options = _options(settings, timeout_s, _authenticate_async)
    return redis.asyncio.Redis.from_url(settings.redis_url, retry=AsyncRetry(BACKOFF, retries), **options)


def _options(settings: Settings, timeout_s: float, authenticate: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S),
        "health_check_interval": HEALTH_CHECK_S,
        "protocol": 2,
    }
    if urlsplit(settings.redis_url).username:
        options["redis_connect_func"] = authenticate
    return options


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
