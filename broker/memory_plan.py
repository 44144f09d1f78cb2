"""How the memory of a container is divided: what the processes take by themselves, and how large each account may grow.

    CONTAINER_MEMORY = broker + projector (+ outlets) + BACKLOG_BYTES and its packed copies + RECEIVE_BUFFER_BYTES + accounts

The accounts share what the rest leaves. All of them full together fit the container: `tests/broker/test_memory_plan.py` adds it
up from the settings' table. With BROKER_WORKERS each worker gets an equal part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.accounts import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settings import Settings

MIB = 1024 * 1024

BROKER_BYTES = 44 * MIB
"""A broker without clients (resident, CPython 3.11 to 3.14)."""

PROJECTOR_BYTES = 56 * MIB
"""A projector at its largest round."""

OUTLETS_BYTES = 64 * MIB
"""The process that writes to MongoDB or InfluxDB, where one is set."""

PACKING_BYTES = 6 * MIB
"""Copies of the commit under way: its frame, the packed request, the connection's buffer."""

LEAST_ACCOUNT_BYTES = 48 * MIB
"""What all accounts of a container share at least, where it is too small for what it runs."""

SHARES_OF_REST = {
    "clients": 30,  # network connections and sessions themselves
    "subscriptions": 25,  # topic filters of this node's sessions, and of other nodes
    "deliveries": 20,  # messages in memory on their way to clients: in flight, queued, loaded
    "send_buffers": 12,  # bytes that sockets have not taken
    "wills": 5,
    "topics": 4,  # caches of topic names and of who is subscribed to them
    "names": 4,  # devices and topics that connected clients have published to
}
"""Per cent of what is left for accounts."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The accounts of one broker process, and what they add up to with everything else in its container."""

    clients: Account
    subscriptions: Account
    deliveries: Account
    send_buffers: Account
    wills: Account
    topics: Account
    names: Account
    total_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> MemoryPlan:
        """Divide CONTAINER_MEMORY."""
        workers = settings.broker_workers
        has_outlets = bool(settings.mongo_url or settings.influx_url)
        beside_bytes = PROJECTOR_BYTES + OUTLETS_BYTES * has_outlets
        fixed_bytes = BROKER_BYTES + settings.backlog_bytes + PACKING_BYTES + settings.receive_buffer_bytes
        rest_bytes = (settings.container_memory - beside_bytes) // workers - fixed_bytes
        rest_bytes = max(rest_bytes, LEAST_ACCOUNT_BYTES // workers)
        accounts = {name: Account(name, rest_bytes * share // 100) for name, share in SHARES_OF_REST.items()}
        total_bytes = beside_bytes + workers * (fixed_bytes + sum(each.limit_bytes for each in accounts.values()))
        return cls(**accounts, total_bytes=total_bytes)

    def warning(self, container_memory: int) -> str:
        """Return what an operator has to know where all this does not fit a container; empty where it does."""
        if self.total_bytes <= container_memory:
            return ""
        fits_mib = -(-self.total_bytes // MIB)
        return (
            f"The container is too small: its processes and bounds can take {fits_mib} MiB, CONTAINER_MEMORY is "
            f"{container_memory // MIB} MiB. Take a container of {fits_mib} MiB or more, or lower BACKLOG_BYTES, "
            "RECEIVE_BUFFER_BYTES or BROKER_WORKERS; until then attackers can have it killed for memory."
        )

    def __iter__(self) -> Iterator[Account]:
        """Return the accounts."""
        return (getattr(self, name) for name in SHARES_OF_REST)
