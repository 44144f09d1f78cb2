"""What one batch has for other nodes: each gets its messages once, whatever its clients' subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import cluster
from store.cluster import InboxEntry

if TYPE_CHECKING:
    from broker.commit.batch import Batch


class Outbox:
    """Collects, by node, the indices of a batch's messages that it wants."""

    def __init__(self) -> None:
        self._ordinary: dict[str, list[int]] = {}
        self._shared: dict[str, list[tuple[int, str]]] = {}

    def add(self, node_id: str, index: int) -> None:
        """Send a message to a node, for whoever subscribed there for itself."""
        self._ordinary.setdefault(node_id, []).append(index)

    def share(self, node_id: str, index: int, shared_filter: str) -> None:
        """Send a message to a node, for one of its members of a group."""
        self._shared.setdefault(node_id, []).append((index, shared_filter))

    def close(self, batch: Batch) -> None:
        """Have the batch's commit deliver it all."""
        for node_id in self._ordinary.keys() | self._shared.keys():
            ordinary, shared = self._ordinary.get(node_id, []), self._shared.get(node_id, [])
            wanted = sorted({*ordinary, *(index for index, _ in shared)})
            place = {index: position for position, index in enumerate(wanted)}
            messages = [batch.message_at(index) for index in wanted]
            entry = InboxEntry(
                messages,
                None if len(ordinary) == len(wanted) else [place[index] for index in ordinary],
                [(place[index], shared_filter) for index, shared_filter in shared],
            )
            batch.route_to_node(cluster.deliver(node_id, entry), sum(len(each.payload) for each in messages))
