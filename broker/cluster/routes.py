"""Who wants what at the other nodes, as part of this node's subscription tree, and what this node tells them of its own.

Each node mirrors all others: it starts from a snapshot and applies the stream of changes. The version it has reached goes
with every commit, which the store refuses if it is not the newest: no message misses a subscription that was acknowledged
before it, at whatever node (docs/decisions/0006).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from broker.routing.shared_subscription import parse_shared
from broker.routing.subscription_tree import SubscriptionOptions, subscription_bytes
from store import cluster
from store.cluster import NodeRoute, SessionEnded, SessionFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.accounts import Account
    from broker.routing.subscription_tree import SubscriptionTree
    from store.cluster import RoutingChange
    from store.commit_log import Change
    from store.session_store import QueueEntry, StoredOptions, StoredSession, Subscriptions

log = logging.getLogger(__name__)

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
    """A persistent session that this node does not serve, or not yet: QoS 1 and 2 go into its queue in the store."""

    __slots__ = ("client_id", "topic_filters")
    is_local = False
    is_lasting = True

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.topic_filters: set[str] = set()

    def enqueued(self, sequence_number: int | None, entry: QueueEntry, entry_bytes: int) -> None:
        """Leave it to the node that serves the session: its inbox tells it to look."""


class Routes:
    """The mirror of what other nodes want, and the count of what this one does.

    `is_served(client_id)` tells whether a client's session stands in the tree as this node's own; until then it stands there
    as a remote one, also while its client connects here: what others publish meanwhile belongs into its queue.
    `on_lost(client_id)` is called when a change shows that another node serves it.
    What is mirrored is charged to `account` although it is full: it was accepted before. Only while all routes are read,
    sessions beyond the bound are left out and counted (`parked_sessions`).
    """

    def __init__(
        self,
        node_id: str,
        tree: SubscriptionTree[Any],
        is_served: Callable[[str], bool],
        on_lost: Callable[[str], None],
        account: Account,
    ) -> None:
        self._node_id = node_id
        self._tree = tree
        self._is_served = is_served
        self._on_lost = on_lost
        self._account = account
        self.parked_sessions = 0
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

    def apply(self, changes: Iterable[tuple[int, RoutingChange]]) -> bool:
        """Apply changes in order; those that are known already are skipped. False: some are missing, read all anew."""
        for version, change in changes:
            if version > self.version + 1:
                return False
            if version == self.version + 1:
                self.version = version
                self._apply(change)
        return True

    def _apply(self, change: RoutingChange) -> None:
        if change.node_id == self._node_id:
            return
        if isinstance(change, NodeRoute):
            self.set_node_route(change.node_id, change.topic_filter, change.count)
        elif isinstance(change, SessionFilter | SessionEnded):
            if self._is_served(change.client_id):
                self._on_lost(change.client_id)
            if self._is_served(change.client_id):
                return  # it is a session that ends with its connection, begun here since
            if isinstance(change, SessionEnded):
                self.set_session(change.client_id, None)
            else:
                self.set_session_filter(change.client_id, change.topic_filter, change.options)
        else:
            self.drop_node(change.node_id)

    def set_node_route(self, node_id: str, topic_filter: str, count: int) -> None:
        """Note for how many of its clients a node wants what a filter matches."""
        node, filters = self._nodes.setdefault(node_id, (RemoteNode(node_id), {}))
        if topic_filter in filters:
            self._uncount(topic_filter)
        if count:
            filters[topic_filter] = count
            self._count(topic_filter)
            self._tree.subscribe(topic_filter, node, ANYTHING, places=count)
        elif filters.pop(topic_filter, 0):
            self._tree.unsubscribe(topic_filter, node)

    def drop_node(self, node_id: str) -> None:
        """Forget a node; the sessions it served are there until another node says more of them."""
        node, filters = self._nodes.pop(node_id, (None, {}))
        for topic_filter in filters:
            self._tree.unsubscribe(topic_filter, node)
            self._uncount(topic_filter)

    def mirror_session(self, session: StoredSession) -> None:
        """Take a session that was read from the store, unless this node serves it, or its filters do not fit."""
        if self._is_served(session.client_id):
            return
        size_bytes = sum(map(subscription_bytes, session.subscriptions))
        if self._account.used_bytes + size_bytes > self._account.limit_bytes:
            self.parked_sessions += 1
            return
        self.set_session(session.client_id, session.subscriptions)

    def set_session(self, client_id: str, subscriptions: Subscriptions | None) -> None:
        """Note what a session that this node does not serve is subscribed to; None: it has ended, or is served from now on."""
        session = self._sessions.pop(client_id, None)
        for topic_filter in () if session is None else session.topic_filters:
            self._tree.unsubscribe(topic_filter, session)
            self._uncount(topic_filter)
        for topic_filter, options in (subscriptions or {}).items():
            self.set_session_filter(client_id, topic_filter, options)

    def set_session_filter(self, client_id: str, topic_filter: str, options: StoredOptions | None) -> None:
        """Note one subscription of such a session; None: it has none with this filter."""
        session = self._sessions.get(client_id)
        is_known = session is not None and topic_filter in session.topic_filters
        if options is not None:
            session = session or self._sessions.setdefault(client_id, RemoteSession(client_id))
            self._tree.subscribe(topic_filter, session, SubscriptionOptions(*options))
            if not is_known:
                session.topic_filters.add(topic_filter)
                self._count(topic_filter)
        elif session is not None and is_known:
            self._tree.unsubscribe(topic_filter, session)
            self._uncount(topic_filter)
            session.topic_filters.discard(topic_filter)
            if not session.topic_filters:
                del self._sessions[client_id]

    def _count(self, topic_filter: str) -> None:
        self.count += 1
        self._account.adopt(subscription_bytes(topic_filter))

    def _uncount(self, topic_filter: str) -> None:
        self.count -= 1
        self._account.refund(subscription_bytes(topic_filter))

    def clear(self) -> None:
        """Forget all of the others: a snapshot follows."""
        for node_id in list(self._nodes):
            self.drop_node(node_id)
        for client_id in list(self._sessions):
            self.set_session(client_id, None)
        self.parked_sessions = 0

    def log_parked(self) -> None:
        """Say how many sessions were left out, once all are read."""
        if self.parked_sessions:
            log.error(
                "%d persistent sessions have more subscriptions than this container's memory allows: nothing is queued for "
                "them until CONTAINER_MEMORY is larger or other sessions have ended.",
                self.parked_sessions,
            )

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
