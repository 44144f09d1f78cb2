"""Failed log-ins, counted in the store for all containers: guessing is slow, and nobody is locked out by somebody else.

Counted are wrong credentials, on the page and in the API together, by what was guessed (the operator's name, another name, a
token) and by address: ADDRESS_FAILURES a minute, then 429 even for the right password from there. Neither sessions nor the
right token are asked, and whoever comes from another address is not concerned.

Many addresses: beyond ALL_FAILURES a minute for the same name, each address has one attempt a minute. That slows guessing by
a factor of ten and cannot lock anybody out, since the first attempt from an address is always judged. To slow it more would
let strangers keep the operator out; what is left to do against many addresses is a long password.

An address is the one that the platform's HTTP router reports (one hop); of IPv6 its /64, which one customer has. A counter is
a key of 100 bytes that goes after a minute and costs its maker a request. Attempts under way at once may all be judged: at
most WEB_THREADS more. While the store is away or takes no writes, each process counts for itself.
"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Any, Literal, cast

import redis
from flask import current_app, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.exceptions import TooManyRequests

if TYPE_CHECKING:
    from flask import Flask

Guessed = Literal["operator", "other name", "token"]

ADDRESS_FAILURES = RateLimitItemPerMinute(10, namespace="web-failed-logins")
ALL_FAILURES = RateLimitItemPerMinute(300, namespace="web-failed-logins-all")


class ClientStorage(RedisStorage):
    """The library's storage in Redis over a client that is there already, whatever kind of store it leads to."""

    STORAGE_SCHEME = ["client"]  # noqa: RUF012  as its base declares it
    SCRIPT_INCR_EXPIRE = b"#!lua flags=allow-oom\n" + RedisStorage.SCRIPT_INCR_EXPIRE  # counts also while Redis is full

    def __init__(self, client: redis.Redis) -> None:
        super(RedisStorage, self).__init__("client://")  # its own would make a client
        self.key_prefix = self.PREFIX
        self.target_server, self.dependency = "redis", redis
        self.storage: Any = client
        self.initialize_storage("client://")


class FailedLogins:
    """Counts failures and says who has to wait. For any number of threads."""

    def __init__(self, client: redis.Redis) -> None:
        self._shared = FixedWindowRateLimiter(ClientStorage(client))
        self._own = FixedWindowRateLimiter(MemoryStorage())

    def wait_s(self, guessed: Guessed, address: str) -> int:
        """Return how long an address has to wait for its next attempt, in whole seconds; 0: it may try."""
        try:
            return _wait_s(self._shared, guessed, _network(address))
        except redis.RedisError:
            return _wait_s(self._own, guessed, _network(address))

    def count(self, guessed: Guessed, address: str) -> None:
        """Count a failure."""
        try:
            _count(self._shared, guessed, _network(address))
        except redis.RedisError:
            _count(self._own, guessed, _network(address))


def register(app: Flask, client: redis.Redis) -> None:
    """Count the failed log-ins of `app`; `client` leads to the store."""
    app.extensions["failed_logins"] = FailedLogins(client)


def require_patience(guessed: Guessed) -> None:
    """Raise TooManyRequests, 429 with Retry-After, where this request's address has guessed too often."""
    wait_s = _failed_logins().wait_s(guessed, request.remote_addr or "")
    if wait_s:
        raise TooManyRequests(
            f"Too many failed log-ins from your address. Try again in {wait_s} s.", retry_after=wait_s
        )


def count(guessed: Guessed) -> None:
    """Count a failure of this request's address."""
    _failed_logins().count(guessed, request.remote_addr or "")


def _failed_logins() -> FailedLogins:
    return cast("FailedLogins", current_app.extensions["failed_logins"])


def _wait_s(limiter: FixedWindowRateLimiter, guessed: Guessed, network: str) -> int:
    resets_s, left = limiter.get_window_stats(ADDRESS_FAILURES, guessed, network)
    failures = ADDRESS_FAILURES.amount - left
    if not failures or (left and limiter.test(ALL_FAILURES, guessed)):
        return 0
    return max(1, round(resets_s - time.time()))


def _count(limiter: FixedWindowRateLimiter, guessed: Guessed, network: str) -> None:
    limiter.hit(ADDRESS_FAILURES, guessed, network)
    limiter.hit(ALL_FAILURES, guessed)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
