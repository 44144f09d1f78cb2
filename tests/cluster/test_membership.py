"""A node among the others, as its own process sees them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from broker.accounts import Account
from broker.cluster.membership import SCRIPTS, Membership
from broker.cluster.routes import Routes
from broker.routing.subscription_tree import SubscriptionTree
from broker.start import cancel
from store.link import StoreLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_S = 30


@contextlib.asynccontextmanager
async def member(name: str, url: str) -> AsyncIterator[Membership]:
    """Have a node that serves nobody take part; it leaves in order."""
    link, reader = StoreLink(url, SCRIPTS), StoreLink(url)
    membership = Membership(name, link, reader, 5, lambda: None)
    membership.routes = Routes(
        name, SubscriptionTree(), lambda _: False, lambda _: None, Account("subscriptions", 1_000_000)
    )
    tasks = [asyncio.create_task(each.run()) for each in (link, reader, membership)]
    try:
        await asyncio.wait_for(membership.has_joined.wait(), DEADLINE_S)
        yield membership
        await membership.leave()
    finally:
        await cancel(*tasks)


async def becomes(membership: Membership, *, has_others: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while membership.has_others is not has_others:  # noqa: ASYNC110  nothing tells when
            await asyncio.sleep(0.01)


async def test_a_node_knows_whether_there_are_others(redis_url: str) -> None:
    async with member("one", redis_url) as one:
        assert not one.has_others
        async with member("two", redis_url) as two:
            assert two.has_others
            await becomes(one, has_others=True)
        await becomes(one, has_others=False)
