"""Clients of Redis Cluster that behave like those of one server: they connect with their first command, and what they
cannot reach is a `redis.RedisError`. redis-py's own connect when they are made (the one for threads), and raise
`RedisClusterException`, which is none.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterPipeline
from redis.commands.core import Script
from redis.exceptions import ClusterError, RedisClusterException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


OUTAGES = (redis.ConnectionError, redis.TimeoutError, ClusterError)


class AsyncClusterClient(redis.asyncio.RedisCluster):
    """A cluster's client for an event loop. After every outage it asks anew which node has which slots.

    redis-py's own asks only before it tries again, and a client whose commands must not be repeated never does. It is for one
    task at a time: a node that says the cluster is down makes redis-py close the connections of all.
    """

    async def initialize(self, *arguments: Any, **options: Any) -> Self:
        """Learn which node has which slots, unless that is known. Raises redis.ConnectionError if no node tells."""
        with _as_redis_errors():
            await super().initialize(*arguments, **options)
        return self

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command to the master that has its key. Raises redis.RedisError."""
        try:
            with _as_redis_errors():
                return await super().execute_command(*arguments, **options)
        except OUTAGES:
            await self.ask_anew()
            raise

    async def ask_anew(self) -> None:
        """Learn where the slots are now; without an answer, what was known stays."""
        with contextlib.suppress(redis.RedisError), _as_redis_errors():
            await self.nodes_manager.initialize()

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:  # noqa: ARG002
        """Return a pipeline over all masters."""
        return _Pipeline(self, transaction)  # type: ignore[abstract]  # as redis-py declares its own


class _Pipeline(ClusterPipeline):
    cluster_client: AsyncClusterClient

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        try:
            with _as_redis_errors():
                replies = await super().execute(raise_on_error, allow_redirections)
        except OUTAGES:
            await self.cluster_client.ask_anew()
            raise
        if any(isinstance(reply, OUTAGES) for reply in replies):
            await self.cluster_client.ask_anew()
        return replies


class _Caller:
    """Passes every method call on to what `target` returns."""

    def __init__(self, target: Callable[[], Any]) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with _as_redis_errors():
                return getattr(self._target(), name)(*arguments, **options)

        return call


class ClusterClient(_Caller):
    """A cluster's client for threads; `make` makes redis-py's with the first command."""

    def __init__(self, make: Callable[[], redis.RedisCluster]) -> None:
        super().__init__(self._connected)
        self._make = make
        self._client: redis.RedisCluster | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pipeline(self, *, transaction: bool = False) -> _Caller:
        """Return a pipeline over all nodes; nothing in it is atomic."""
        with _as_redis_errors():
            client: Any = self._connected()  # redis-py's method has no types
            pipeline = client.pipeline(transaction=transaction)
        return _Caller(lambda: pipeline)

    def register_script(self, script: bytes) -> Script:
        """Return a script that is loaded when a node turns out not to know it. (Text would have to ask for its encoding.)"""
        client: Any = self
        return Script(client, script)

    def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> redis.RedisCluster:
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client


@contextlib.contextmanager
def _as_redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise redis.ConnectionError(str(error)) from error
