"""One pipelined connection to Redis for the commit path: packed commands out, replies back in order.

Why not redis-py here: packing and dispatch cost it more than the rest of the path together (`bench/`). Everything
that is not a commit or a read that has to stay in order with commits goes through redis-py (`connection.py`).
Requests are bytes made by `pack`; the replies of one request come back as one list, errors among them as
`hiredis.ReplyError`. A connection that breaks or does not answer in time fails every request in flight with
`LinkDownError`: whether they took effect is then unknown, so they have to be harmless when repeated.
In a cluster the link leads to the master of what has the hash tag `{log}`, with Sentinels to the master they name: both
are asked at every connection, and a server that says it is not the one any more is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
import redis
from redis.asyncio.connection import SSLConnection, parse_url

from store import schema
from store.address import parse_address
from store.connection import find_master

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

REPLY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.05, 1.0
IDLE_PING_S = 60.0  # the platform's Redis closes connections that are idle for 150 s
LEFT_PAUSE_S = 0.2  # who is the master next may not be settled yet
NOT_HERE = ("MOVED", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "UNBLOCKED")
"""Errors of a server that cannot do now what another one may: its link leaves it."""

Replies = list[Any]
pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command


class LinkDownError(ConnectionError):
    """The store did not answer; whether it got the request is unknown."""


class _Connection(asyncio.Protocol):
    """One TCP, TLS or Unix-socket connection: matches replies to requests in order."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        self._waiting: deque[tuple[int, Callable[[Replies | None], None], Replies]] = deque()
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self.last_reply = 0.0
        self.left_because = ""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def request(self, data: bytes, reply_count: int, on_replies: Callable[[Replies | None], None]) -> None:
        if not self._waiting:
            self.last_reply = self._loop.time()
        self._waiting.append((reply_count, on_replies, []))
        if self.transport is not None:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self.last_reply = self._loop.time()
        while (reply := self._reader.gets()) is not _NOT_ENOUGH:
            if not self._waiting:
                self.close()
                return
            if reply.__class__ is hiredis.ReplyError and str(reply).startswith(NOT_HERE):
                self.left_because = str(reply)
                self.close()
            reply_count, on_replies, replies = self._waiting[0]
            replies.append(reply)
            if len(replies) == reply_count:
                self._waiting.popleft()
                on_replies(replies)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        waiting, self._waiting = self._waiting, deque()
        self._on_lost()
        for _, on_replies, _ in waiting:
            on_replies(None)

    def is_overdue(self) -> bool:
        return bool(self._waiting) and self._loop.time() - self.last_reply > REPLY_TIMEOUT_S

    def is_idle(self) -> bool:
        return not self._waiting and self._loop.time() - self.last_reply > IDLE_PING_S

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


_NOT_ENOUGH = object()


class StoreLink:
    """Keeps one connection to the store open, for ever, with backoff; `is_up` tells whether it is.

    `scripts` are loaded on every connection, so that EVALSHA finds them also after the store has restarted.
    `on_up` is called each time a connection is ready.
    """

    def __init__(
        self,
        url: str,
        scripts: tuple[str, ...] = (),
        on_up: Callable[[], None] = lambda: None,
        log_level: int = logging.WARNING,
    ) -> None:
        self._address = parse_address(url)
        self._where: dict[str, Any] = dict(parse_url(self._address.any_server_url))
        self._scripts = scripts
        self._on_up = on_up
        self._log_level = log_level
        self._connection: _Connection | None = None
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._was_left = False
        self._has_said_down = False
        self.down_reason = "not connected yet"

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent now."""
        return self._connection is not None

    async def wait_up(self) -> None:
        """Return as soon as the store can be reached."""
        await self._up.wait()

    def request(self, data: bytes, reply_count: int, on_replies: Callable[[Replies | None], None]) -> None:
        """Send packed commands; `on_replies` gets their replies, or None when the connection broke.

        Raises LinkDownError when there is no connection: nothing was sent then.
        """
        if self._connection is None:
            raise LinkDownError(self.down_reason)
        self._connection.request(data, reply_count, on_replies)

    async def send(
        self, commands: list[tuple[Any, ...]], on_replies: Callable[[Replies], None] = lambda _: None
    ) -> Replies:
        """Send commands and return their replies, errors among them. Raises LinkDownError.

        `on_replies` is called before anything that comes in behind these replies is looked at; the caller only later.
        """
        if self._connection is None:
            raise LinkDownError(self.down_reason)
        return await _ask(self._connection, commands, on_replies)

    async def call(self, *commands: tuple[Any, ...]) -> Replies:
        """Send commands and return their replies. Raises LinkDownError, or the first error reply."""
        return _raise_error(await self.send(list(commands)))

    async def run(self) -> None:
        """Connect, watch, reconnect with backoff; until cancelled."""
        backoff_s = FIRST_BACKOFF_S
        try:
            while True:
                try:
                    await self._open()
                except (OSError, LinkDownError, hiredis.HiredisError, redis.RedisError, TimeoutError) as error:
                    self._say_down(str(error) or type(error).__name__)
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)
                    continue
                backoff_s = FIRST_BACKOFF_S
                await self._watch()
                if self._was_left:
                    await asyncio.sleep(LEFT_PAUSE_S)
        finally:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def break_connection(self) -> None:
        """Close the connection, if any; `run()` opens the next one."""
        if self._connection is not None:
            self._connection.close()

    def _say_down(self, reason: str) -> None:
        if reason != self.down_reason:
            log.log(
                self._log_level,
                "The store cannot be reached: %s. Nothing is acknowledged until it answers; trying again.",
                reason,
            )
            self._has_said_down = True
        self.down_reason = reason

    async def _open(self) -> None:
        self._lost.clear()
        connection = await asyncio.wait_for(self._connect(), CONNECT_TIMEOUT_S)
        try:
            await asyncio.wait_for(self._greet(connection), CONNECT_TIMEOUT_S)
        except BaseException:
            connection.close()
            raise
        if self._lost.is_set():
            raise LinkDownError("the connection closed again at once")
        if self._has_said_down:
            log.log(self._log_level, "The store answers again.")
        self._has_said_down, self.down_reason = False, ""
        self._connection = connection
        self._up.set()
        self._on_up()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._address.kind != "server":
            self._where["host"], self._where["port"] = await find_master(self._address, schema.LOG)
        path = self._where.get("path")
        if path:
            _, connection = await loop.create_unix_connection(self._make, path)
        else:
            host, port = self._where.get("host", "localhost"), self._where.get("port", 6379)
            ssl = _ssl_context(self._where)
            _, connection = await loop.create_connection(self._make, host, port, ssl=ssl)
        return connection

    def _make(self) -> _Connection:
        return _Connection(self._connection_lost)

    def _connection_lost(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._was_left = bool(connection.left_because)
            if self._was_left:
                self.down_reason = connection.left_because  # whoever sent the request says so
            else:
                self._say_down("the connection broke")
        self._up.clear()
        self._lost.set()

    async def _greet(self, connection: _Connection) -> None:
        try:
            _raise_error(await _ask(connection, self._login_commands()))
        except hiredis.ReplyError as error:
            # The platform's URLs may name a user that does not exist; only `default` does.
            if not str(error).startswith("WRONGPASS") or not self._where.get("username"):
                raise LinkDownError(str(error)) from None
            self._where.pop("username")
            _raise_error(await _ask(connection, self._login_commands()))
        await self._check_role(connection)
        _raise_error(await _ask(connection, [("SCRIPT", "LOAD", script) for script in self._scripts]))

    async def _check_role(self, connection: _Connection) -> None:
        """Raise LinkDownError where a master was promised and is not: Sentinels may be behind, too."""
        if self._address.kind == "sentinel":
            ((role, *_),) = _raise_error(await _ask(connection, [("ROLE",)]))
            if role != b"master":
                raise LinkDownError("the server that the Sentinels name is not the master")

    def _login_commands(self) -> list[tuple[Any, ...]]:
        commands: list[tuple[Any, ...]] = []
        if self._where.get("password"):
            user = (self._where["username"],) if self._where.get("username") else ()
            commands.append(("AUTH", *user, self._where["password"]))
        if self._where.get("db"):
            commands.append(("SELECT", self._where["db"]))
        commands.append(("CLIENT", "SETNAME", "commit"))
        return commands

    async def _watch(self) -> None:
        """Return when the connection is lost; break it when a reply is overdue."""
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), REPLY_TIMEOUT_S / 5)
            connection = self._connection
            if connection is None:
                continue
            if connection.is_overdue():
                self._say_down(f"no answer for {REPLY_TIMEOUT_S:g} s")
                connection.close()
            elif connection.is_idle():
                connection.request(pack(("PING",)), 1, lambda _: None)


async def _ask(
    connection: _Connection, commands: list[tuple[Any, ...]], on_replies: Callable[[Replies], None] = lambda _: None
) -> Replies:
    """Send commands and return their replies, errors among them. Raises LinkDownError."""
    if not commands:
        return []
    done: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()

    def resolve(replies: Replies | None) -> None:
        if not done.done():
            if replies is not None:
                on_replies(replies)
            done.set_result(replies)

    connection.request(b"".join(map(pack, commands)), len(commands), resolve)
    replies = await done
    if replies is None:
        raise LinkDownError("the connection to the store broke")
    return replies


def _raise_error(replies: Replies) -> Replies:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _ssl_context(where: dict[str, Any]) -> Any:
    if where.get("connection_class") is not SSLConnection:
        return None
    options = {name: value for name, value in where.items() if name.startswith("ssl_")}
    try:
        return SSLConnection(**options).ssl_context.get()
    except redis.RedisError as error:
        raise LinkDownError(str(error)) from None
