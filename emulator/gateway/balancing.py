"""Which container gets a new connection: each in turn. Pure.

The platform's documentation says when it chooses (at the handshake, once for a connection), not how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Server = TypeVar("Server")


class RoundRobin(Generic[Server]):
    """The servers that take new connections, and whose turn it is."""

    def __init__(self) -> None:
        self._servers: tuple[Server, ...] = ()
        self._turn = 0

    def replace(self, servers: Sequence[Server]) -> None:
        """From now on choose among these; connections that exist stay where they are."""
        self._servers = tuple(servers)

    def choose(self) -> Server | None:
        """Return the next server, None when there is none."""
        if not self._servers:
            return None
        self._turn = (self._turn + 1) % len(self._servers)
        return self._servers[self._turn]
