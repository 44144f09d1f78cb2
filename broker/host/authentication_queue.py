"""Who is next to be authenticated by plugins, which may be slow: few at once, so that bad credentials cannot keep all busy.

    known    credentials that were accepted before                 first
    fresh    user names that are not refused all the time          three of four times
    failing  user names that are                                   once in four times, and the first to get no answer

While credentials are refused often, over all user names, far fewer of the two lower lanes are asked about at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from enum import IntEnum
from typing import TYPE_CHECKING

from broker.accounts import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.host.refusals import Refusals

# A plugin that blocks for 0.2 s, as hashing does, answers 24 within its time-out (PLUGIN_TIMEOUT_S: 5 s).
MOST_ASKED, MOST_ASKED_UNKNOWN, MOST_ASKED_IN_STORM = 24, 16, 4
MOST_FAILING = 256
WAITING_BYTES = 4 * 1024 * 1024
WAITER_BYTES = 2 * 1024  # a task and what it holds, besides the packet
ACCEPTED_BYTES, ACCEPTED_ENTRY_BYTES = 512 * 1024, 120
FAILING_SHARE = 4


class TooManyWaitError(Exception):
    """Too many connections wait to be authenticated; this one is to be closed."""


class _Lane(IntEnum):
    KNOWN, FRESH, FAILING = range(3)


class _Waiter:
    __slots__ = ("lane", "turn", "username")

    def __init__(self, username: str | None, lane: _Lane, turn: asyncio.Future[None]) -> None:
        self.username = username
        self.lane = lane
        self.turn = turn


class AuthenticationQueue:
    """The connections of one process that plugins are, or will be, asked about."""

    def __init__(self, refusals: Refusals, monotonic: Callable[[], float]) -> None:
        self._refusals = refusals
        self._monotonic = monotonic
        self._lanes: tuple[OrderedDict[_Waiter, None], ...] = tuple(OrderedDict() for _ in _Lane)
        self._asked = self._asked_unknown = 0
        self._waiting_bytes = 0
        self._turns = 0
        self._key = secrets.token_bytes(16)
        self._accepted: BoundedCache[int, None] = BoundedCache(ACCEPTED_BYTES)

    async def ask(
        self,
        username: str | None,
        password: bytes | None,
        size_bytes: int,
        authenticate: Callable[[], Awaitable[bool]],
    ) -> bool:
        """Return what `authenticate()` says, when its turn has come. `size_bytes`: what is kept until then.

        Raises TooManyWaitError.
        """
        digest = self._digest(username, password)
        lane = _Lane.KNOWN if digest in self._accepted.entries else _Lane.FRESH
        await self._wait(username, lane, size_bytes + WAITER_BYTES)
        try:
            is_allowed = await authenticate()
        finally:
            self._leave(lane)
        if is_allowed and password is not None and digest not in self._accepted.entries:
            self._accepted.put(digest, None, ACCEPTED_ENTRY_BYTES)
        return is_allowed

    def _digest(self, username: str | None, password: bytes | None) -> int:
        name = repr(username).encode()
        data = len(name).to_bytes(4, "big") + name + (password or b"")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._key).digest(), "big")

    async def _wait(self, username: str | None, lane: _Lane, size_bytes: int) -> None:
        if self._waiting_bytes + size_bytes > WAITING_BYTES:
            raise TooManyWaitError
        waiter = _Waiter(username, lane, asyncio.get_running_loop().create_future())
        self._lanes[lane][waiter] = None
        self._waiting_bytes += size_bytes
        self._admit()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.cancelled() and waiter.turn.exception() is None:  # its turn came in the same moment
                self._leave(lane)
            raise
        finally:
            self._lanes[waiter.lane].pop(waiter, None)
            self._waiting_bytes -= size_bytes

    def _leave(self, lane: _Lane) -> None:
        self._asked -= 1
        self._asked_unknown -= lane is not _Lane.KNOWN
        self._admit()

    def _admit(self) -> None:
        while (waiter := self._next()) is not None:
            if waiter.turn.done():  # its connection has ended in this loop turn
                continue
            self._asked += 1
            self._asked_unknown += waiter.lane is not _Lane.KNOWN
            waiter.turn.set_result(None)

    def _next(self) -> _Waiter | None:
        if self._asked >= MOST_ASKED:
            return None
        known = self._lanes[_Lane.KNOWN]
        if known:
            return known.popitem(last=False)[0]
        now = self._monotonic()
        if self._asked_unknown >= (MOST_ASKED_IN_STORM if self._refusals.is_storm(now) else MOST_ASKED_UNKNOWN):
            return None
        self._part_failing(now)
        fresh, failing = self._lanes[_Lane.FRESH], self._lanes[_Lane.FAILING]
        self._turns += 1
        lane = failing if failing and (not fresh or self._turns % FAILING_SHARE == 0) else fresh
        return lane.popitem(last=False)[0] if lane else None

    def _part_failing(self, now: float) -> None:
        """Move those in front whose user name is refused all the time into the lane of these."""
        fresh, failing = self._lanes[_Lane.FRESH], self._lanes[_Lane.FAILING]
        while fresh:
            waiter = next(iter(fresh))
            if not self._refusals.is_failing(waiter.username, now):
                return
            del fresh[waiter]
            if waiter.turn.done():
                continue
            if len(failing) >= MOST_FAILING:
                waiter.turn.set_exception(TooManyWaitError())
            else:
                waiter.lane = _Lane.FAILING
                failing[waiter] = None
