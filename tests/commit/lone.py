"""A committer without a broker around it: nothing is routed, nobody is told, and the store is whatever `link` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import settings
from broker.accounts import Account
from broker.cluster.membership import Membership
from broker.cluster.routes import Routes
from broker.commit.committer import Committer
from broker.memory_plan import MemoryPlan
from broker.routing.subscription_tree import SubscriptionTree
from store.commit_log import CommitLog

if TYPE_CHECKING:
    from store.link import StoreLink

BATCH_MESSAGES = 3
UNREACHABLE = "redis://127.0.0.1:1"


def lone_plan() -> MemoryPlan:
    """The accounts of a container of the smallest size."""
    environment = {"REDIS_URL": UNREACHABLE, "ALLOW_ANONYMOUS": "true"}
    return MemoryPlan.of(settings.load(environment, "tcp"))


def lone_peers(link: StoreLink) -> Membership:
    """A node that knows of no other."""
    peers = Membership("node", link, link, 1, lambda: None)
    peers.routes = Routes(
        "node", SubscriptionTree(), lambda _: False, lambda _: None, Account("subscriptions", 1_000_000)
    )
    peers.has_joined.set()
    return peers


def lone_committer(link: StoreLink, peers: Membership) -> Committer:
    """Commits over `link`, BATCH_MESSAGES at a time at most."""
    return Committer(
        link,
        CommitLog("node", is_fsynced=False, max_retained=1, queue_messages=1, queue_bytes=1, queue_age_s=1),
        batch_messages=BATCH_MESSAGES,
        batch_bytes=1_000_000,
        backlog_bytes=1_000_000,
        prepare=lambda _: None,
        on_stored=lambda *_: None,
        on_congestion=lambda _: None,
        peers=peers,
        now_ms=lambda: 0,
    )
