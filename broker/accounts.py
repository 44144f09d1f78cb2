"""Accounts: the bytes that clients make this process hold, one account for each kind of structure.

A structure charges its account before it grows and refunds it when it shrinks. An account that is full refuses, and the caller
gives the answer that the specification names (docs/limits.md). What frees memory never asks an account.

    charge(size_bytes, held_bytes)   False: refused and counted; `held_bytes` is what this holder has charged already
    adopt(size_bytes)                charge what was accepted before (by another node, or by an earlier process)
    refund(size_bytes)

One holder gets an eighth of an account at most, and the last eighth is for holders of less than 16 KiB: whoever takes much is
refused first, and a client with a few subscriptions is served while others try to take everything.
Plain: no I/O and no clock. How large the accounts are: `broker.memory_plan`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

SHARES = 8
SMALL_HOLDER_BYTES = 16 * 1024
LARGEST_CACHED_BYTES = 4 * 1024


class Account:
    """The bytes of one kind of structure, over all clients of this process. `refused`: how often it was full."""

    __slots__ = ("_share_bytes", "limit_bytes", "name", "refused", "used_bytes")

    def __init__(self, name: str, limit_bytes: int, share_bytes: int = 0) -> None:
        """`share_bytes`: the most that one holder gets, an eighth unless something else bounds a holder."""
        self.name = name
        self.limit_bytes = limit_bytes
        self._share_bytes = max(share_bytes or limit_bytes // SHARES, SMALL_HOLDER_BYTES)
        self.used_bytes = 0
        self.refused = 0

    def charge(self, size_bytes: int, held_bytes: int = 0) -> bool:
        """Take `size_bytes` for a holder that has `held_bytes` already; False where that crosses the bound."""
        used_bytes, limit_bytes = self.used_bytes + size_bytes, self.limit_bytes
        after_bytes = held_bytes + size_bytes
        if after_bytes > SMALL_HOLDER_BYTES:
            limit_bytes -= limit_bytes // SHARES
        if used_bytes > limit_bytes or after_bytes > self._share_bytes:
            self.refused += 1
            return False
        self.used_bytes = used_bytes
        return True

    def adopt(self, size_bytes: int) -> None:
        """Take bytes without asking: for what was accepted before."""
        self.used_bytes += size_bytes

    def refund(self, size_bytes: int) -> None:
        """Give bytes back."""
        self.used_bytes -= size_bytes

    @property
    def is_full(self) -> bool:
        """Whether even small holders get nothing more."""
        return self.used_bytes >= self.limit_bytes


class Holder:
    """One holder's part of an account: what it is charged for piece by piece, and gives back in one go."""

    __slots__ = ("_account", "held_bytes")

    def __init__(self, account: Account) -> None:
        self._account = account
        self.held_bytes = 0

    def charge(self, size_bytes: int) -> bool:
        """Take more; False where the account refuses."""
        if not self._account.charge(size_bytes, self.held_bytes):
            return False
        self.held_bytes += size_bytes
        return True

    def refund(self, size_bytes: int) -> None:
        """Give a part back."""
        self._account.refund(size_bytes)
        self.held_bytes -= size_bytes

    def refund_all(self) -> None:
        """Give everything back."""
        self.refund(self.held_bytes)


class BoundedCache(Generic[K, V]):
    """Answers that can be found again: forgotten all at once when they take more than `limit_bytes`.

    `entries` is the plain dictionary, for readers on the hot path. Entries of more than `largest_bytes` are not kept.
    """

    __slots__ = ("entries", "largest_bytes", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int, largest_bytes: int = LARGEST_CACHED_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.largest_bytes = largest_bytes
        self.used_bytes = 0
        self.entries: dict[K, V] = {}

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep an answer; `size_bytes`: what key, value and their place take."""
        if size_bytes > self.largest_bytes:
            return
        if self.used_bytes + size_bytes > self.limit_bytes:
            self.clear()
        self.used_bytes += size_bytes
        self.entries[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self.used_bytes = 0
