"""Who wants what at the other nodes, as part of this node's subscription tree, and what this node tells them of its own.

Each node mirrors all others: it starts from a snapshot and applies the stream of changes. The version it has reached goes
with every commit, which the store refuses if it is not the newest: no message misses a subscription that was acknowledged
before it, at whatever node (docs/decisions/0006).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions
from store import cluster
from store.cluster import NodeGone, NodeRoute, SessionRoutes
from store.session_store import decode_subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.routing.subscription_tree import SubscriptionTree
    from store.commit_log import Change
    from store.session_store import QueueEntry, StoredSubscription

ANYTHING = SubscriptionOptions(qos=2, retain_as_published=True)


class RemoteNode:
    """Another node, as a subscriber: what its clients want goes into its inbox, once."""

    __slots__ = ("node_id",)
    is_local = False
    is_lasting = False
    client_id = ""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id


class RemoteSession:
    """A session that lasts and another node serves, as a subscriber: QoS 1 and 2 go into its queue in the store."""

    __slots__ = ("client_id", "subscriptions")
    is_local = False
    is_lasting = True

    def __init__(self, client_id: str, subscriptions: list[StoredSubscription]) -> None:
        self.client_id = client_id
        self.subscriptions = subscriptions

    def enqueued(self, sequence_number: int | None, entry: QueueEntry, entry_bytes: int) -> None:
        """Leave it to the node that serves the session: its inbox tells it to look."""


class Routes:
    """The mirror of what other nodes want, and the count of what this one does.

    `is_own(client_id)` tells whether this node serves a client; `on_lost(client_id)` is called when a change shows that it
    does so no longer.
    """

    def __init__(
        self,
        node_id: str,
        tree: SubscriptionTree[Any],
        is_own: Callable[[str], bool],
        on_lost: Callable[[str], None],
    ) -> None:
        self._node_id = node_id
        self._tree = tree
        self.is_own = is_own
        self._on_lost = on_lost
        self._nodes: dict[str, tuple[RemoteNode, dict[str, int]]] = {}
        self._sessions: dict[str, RemoteSession] = {}
        self._wanted: dict[str, int] = {}
        self.version = 0
        self.is_leaving = False
        """Whether this node goes: the others hear of all its routes at once then."""
        self.count = 0
        """How many entries of the tree are other nodes' and their sessions'."""

    @property
    def has_remote(self) -> bool:
        """Whether messages may have to go to anybody but this node's own clients."""
        return self.count > 0

    # --- what the others want

    def apply(self, changes: Iterable[tuple[int, NodeRoute | SessionRoutes | NodeGone]]) -> bool:
        """Apply changes in order; those that are known already are skipped. False: some are missing, read all anew."""
        for version, change in changes:
            if version > self.version + 1:
                return False
            if version == self.version + 1:
                self.version = version
                self._apply(change)
        return True

    def _apply(self, change: NodeRoute | SessionRoutes | NodeGone) -> None:
        if change.node_id == self._node_id:
            return
        if isinstance(change, NodeRoute):
            self.set_node_route(change.node_id, change.topic_filter, change.count)
        elif isinstance(change, SessionRoutes):
            if self.is_own(change.client_id):
                self._on_lost(change.client_id)
            if self.is_own(change.client_id):
                return  # it has come back to this node since
            subscriptions = decode_subscriptions(change.subscriptions) if change.subscriptions else None
            self.set_session(change.client_id, subscriptions)
        else:
            self.drop_node(change.node_id)

    def set_node_route(self, node_id: str, topic_filter: str, count: int) -> None:
        """Note for how many of its clients a node wants what a filter matches."""
        node, filters = self._nodes.setdefault(node_id, (RemoteNode(node_id), {}))
        self.count -= topic_filter in filters
        if count:
            filters[topic_filter] = count
            self.count += 1
            self._tree.subscribe(topic_filter, node, ANYTHING, places=count)
        elif filters.pop(topic_filter, 0):
            self._tree.unsubscribe(topic_filter, node)

    def drop_node(self, node_id: str) -> None:
        """Forget a node; the sessions it served are there until another node says more of them."""
        node, filters = self._nodes.pop(node_id, (None, {}))
        for topic_filter in filters:
            self._tree.unsubscribe(topic_filter, node)
        self.count -= len(filters)

    def set_session(self, client_id: str, subscriptions: list[StoredSubscription] | None) -> None:
        """Note what a session that lasts is subscribed to; None: it has ended, or this node serves it itself."""
        session = self._sessions.pop(client_id, None)
        if session is not None:
            for topic_filter, *_ in session.subscriptions:
                self._tree.unsubscribe(topic_filter, session)
            self.count -= len(session.subscriptions)
        if subscriptions:
            session = self._sessions[client_id] = RemoteSession(client_id, subscriptions)
            for topic_filter, *options in subscriptions:
                self._tree.subscribe(topic_filter, session, SubscriptionOptions(*options))  # type: ignore[arg-type]
            self.count += len(subscriptions)

    def clear(self) -> None:
        """Forget all of the others: a snapshot follows."""
        for node_id in list(self._nodes):
            self.drop_node(node_id)
        for client_id in list(self._sessions):
            self.set_session(client_id, None)

    # --- what this node wants

    def want(self, topic_filter: str) -> list[Change]:
        """Note one more client of this node that wants what a filter matches; return what the others have to know."""
        count = self._wanted[topic_filter] = self._wanted.get(topic_filter, 0) + 1
        return self._announce(topic_filter, count) if count == 1 or parse_shared(topic_filter) else []

    def release(self, topic_filter: str) -> list[Change]:
        """Note one client less."""
        count = self._wanted.pop(topic_filter) - 1
        if count:
            self._wanted[topic_filter] = count
        return self._announce(topic_filter, count) if not count or parse_shared(topic_filter) else []

    def _announce(self, topic_filter: str, count: int) -> list[Change]:
        if self.is_leaving:
            return []
        return cluster.route(NodeRoute(self._node_id, topic_filter, count))
