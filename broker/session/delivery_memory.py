"""The memory that messages on their way to clients take in this process: queued, in flight, read from the store.

Each session charges what it holds; a message that many hold counts for each of them, and once for the account. Where the
account is full, the sessions that hold most are disconnected, the largest first:
a client that does not acknowledge pays, and nobody else does. A persistent session loses nothing then: the store has its queue.
Source of the rule: Redis' client eviction (`maxmemory-clients`).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from broker.accounts import SHARES
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.accounts import Account
    from broker.session.session import Session

EVICTED_AT_ONCE = 8
FAILURES_BETWEEN_EVICTIONS = 512
"""Looking for the largest takes longer than a delivery: where nobody holds more than the others, it is not done each time."""


class DeliveryMemory:
    """Charges and refunds what sessions hold. `evicted` counts the connections that were ended to make room.

    `sessions()` returns all sessions; `disconnect(session, reason_code)` ends a connection and takes it off its session.
    `waiting`: sessions that read their queues when there is room again.
    """

    def __init__(
        self,
        account: Account,
        sessions: Callable[[], Iterable[Session]],
        disconnect: Callable[[Session, ReasonCode], None],
    ) -> None:
        self._account = account
        self._sessions = sessions
        self._disconnect = disconnect
        self.waiting: set[Session] = set()
        self.evicted = 0
        self._failures = 0

    def take(self, session: Session, size_bytes: int, shared_bytes: int = 0) -> bool:
        """Charge a session; False where there is no room. `shared_bytes` of it are in memory already."""
        if not self._account.charge(size_bytes - shared_bytes, session.held_bytes + shared_bytes):
            return False
        session.held_bytes += size_bytes
        return True

    def take_or_evict(self, session: Session, size_bytes: int, shared_bytes: int = 0) -> bool:
        """Charge a session, where necessary at the cost of those that hold more; False where it is the largest itself."""
        if self.take(session, size_bytes, shared_bytes):
            return True
        wanted_bytes = session.held_bytes + size_bytes
        self._failures += 1
        if wanted_bytes > self._account.limit_bytes // SHARES or self._failures % FAILURES_BETWEEN_EVICTIONS != 1:
            return False
        connected = (each for each in self._sessions() if each.attachment is not None and each is not session)
        evicted = self.evicted
        for largest in heapq.nlargest(EVICTED_AT_ONCE, connected, key=_held_bytes):
            if largest.held_bytes > wanted_bytes:
                self.evicted += 1
                self._disconnect(largest, ReasonCode.QUOTA_EXCEEDED)
        if self.evicted > evicted:
            self._failures = 0
        return self.take(session, size_bytes, shared_bytes)

    def adopt(self, session: Session, size_bytes: int) -> None:
        """Charge a session for what is here already."""
        self._account.adopt(size_bytes)
        session.held_bytes += size_bytes

    def refund(self, session: Session, size_bytes: int, shared_bytes: int = 0) -> None:
        """Give back what a session holds no longer. `shared_bytes` of it stay in memory for others."""
        self._account.refund(size_bytes - shared_bytes)
        session.held_bytes -= size_bytes


def _held_bytes(session: Session) -> int:
    return session.held_bytes
