"""The bytes that sockets have not taken, over all connections: measured, bounded, and the largest holder pays.

Nothing is charged for each write: what waits is measured when an eighth of the account was written, and once a second.
A payload that many connections have to send counts once. Above the account's bound a connection with more than 16 KiB to
send takes nothing more, as if its own buffer were full; of those that have taken nothing for a second, the one that holds
most is disconnected, until the rest fits. Whoever reads is not touched, however large its message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.accounts import SHARES, SMALL_HOLDER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.accounts import Account
    from broker.net.connection import Connection

LAG_S = 1.0


class SendBuffers:
    """Watches the connections that have something to send."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._sending: set[Connection] = set()
        self._tight: set[Connection] = set()
        self._unmeasured_bytes = 0
        self.round_bytes = max(account.limit_bytes // SHARES, SMALL_HOLDER_BYTES)
        """So much is written between two measurements, and in one turn of the event loop."""

    def wrote(self, connections: Iterable[Connection], size_bytes: int, now: float) -> None:
        """Take note of connections that were given something to send, and how much it is in all."""
        self._sending.update(connections)
        self._unmeasured_bytes += size_bytes
        if self._unmeasured_bytes >= self.round_bytes:
            self.measure(now)

    def blocked(self, connection: Connection) -> None:
        """Take note of a connection whose socket takes nothing more."""
        self._sending.add(connection)

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is gone."""
        self._sending.discard(connection)
        self._tight.discard(connection)

    def measure(self, now: float) -> None:
        """Add up what waits; hold those that lag while it is too much, and let them go on when it is not."""
        self._unmeasured_bytes = 0
        account, shared, own = self._account, {}, 0  # type: tuple[Account, dict[int, int], int]
        sizes: dict[Connection, int] = {}
        for connection in self._sending:
            sizes[connection] = size_bytes = connection.count_unsent(shared)
            own += size_bytes
        self._sending = {each for each, size_bytes in sizes.items() if size_bytes or each.has_unsent}
        account.used_bytes = own + sum(shared.values())
        if account.used_bytes > account.limit_bytes:
            for connection, size_bytes in sizes.items():
                if size_bytes > SMALL_HOLDER_BYTES and connection not in self._tight:
                    self._tight.add(connection)
                    connection.tighten()
            self._disconnect_largest(sizes, now)
        elif self._tight and account.used_bytes <= account.limit_bytes // 2:
            tight, self._tight = self._tight, set()
            for connection in tight:
                connection.loosen()

    def _disconnect_largest(self, sizes: dict[Connection, int], now: float) -> None:
        lagging = [each for each in sizes if each.blocked_since + LAG_S <= now]
        for connection in sorted(lagging, key=sizes.__getitem__, reverse=True):
            if self._account.used_bytes <= self._account.limit_bytes:
                return
            self._account.refused += 1
            self._account.used_bytes -= sizes[connection]
            self.forget(connection)
            connection.disconnect_slow()
