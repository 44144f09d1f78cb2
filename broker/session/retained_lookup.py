"""The retained messages that a new subscription is sent (MQTT 5.0 §3.3.1.3).

    SUBSCRIBE -> [ its commit: version V of the retained messages ] -> SUBACK -> look-up -> delivery

The subscription holds from SUBSCRIBE on. A message that is retained with a version after V comes live, whichever node it was
published at, and is left out here. One that was stored before V and is on its way to this node's subscribers comes live as
well: `RetainedLookup.note` remembers these.
A persistent session's copy goes into its queue by a commit, which leaves it out if another message is retained by then: the
queue has that one already, and the older must not come behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from broker.routing.topic_filter import is_wildcard, literal_prefix, matches
from broker.session.session import Delivery
from store.link import LinkDownError

if TYPE_CHECKING:
    from broker.routing.subscription_tree import SubscriptionOptions
    from broker.session.client import Client
    from store.model import Message
    from store.retained import Retained

    Granted = tuple[str, SubscriptionOptions]
    """A topic filter that was subscribed to, and how."""

RETRY_S = 0.5


class RetainedLookup:
    """Which messages one SUBSCRIBE has brought live before it was stored."""

    __slots__ = ("_live", "retained_version")

    def __init__(self) -> None:
        self._live: dict[str, tuple[str, int]] = {}
        self.retained_version = 0

    def note(self, message: Message) -> None:
        """Take note that the client is sent a message, which the store retains."""
        self._live[message.topic_name] = (message.client_id, message.received_ms)

    def has_come_live(self, retained: Retained) -> bool:
        """Tell whether a retained message reaches, or has reached, the client because of its subscription."""
        message = retained.message
        is_newer = retained.version > self.retained_version
        return is_newer or self._live.get(message.topic_name) == (message.client_id, message.received_ms)


class RetainedSender:
    """Sends one client the retained messages of its subscriptions, one subscription after another."""

    __slots__ = ("_client", "_is_running", "_waiting")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: deque[tuple[Granted, RetainedLookup]] = deque()
        self._is_running = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, subscriptions: list[Granted], lookup: RetainedLookup) -> None:
        """Send what these subscriptions match, behind what waits already."""
        self._waiting += [(each, lookup) for each in subscriptions]
        if not self._is_running:
            self._is_running = True
            self._client.start(self._run())

    async def _run(self) -> None:
        client = self._client
        while self._waiting and client.session is not None:
            (topic_filter, options), lookup = self._waiting[0]
            await self._send(topic_filter, options, lookup)
            self._waiting.popleft()
            client.retained_sent()
        self._is_running = False

    async def _send(self, topic_filter: str, options: SubscriptionOptions, lookup: RetainedLookup) -> None:
        broker = self._client.broker
        for message in broker.sys_messages_of(topic_filter):
            self._deliver_one(message, options)
        deliver = partial(self._deliver, options, lookup)
        while True:
            try:
                if is_wildcard(topic_filter):
                    is_match = partial(matches, topic_filter)
                    await broker.retained.find(literal_prefix(topic_filter), is_match, deliver, self._capacity)
                else:
                    await broker.retained.get(topic_filter, deliver)
                break
            except LinkDownError:
                await asyncio.sleep(RETRY_S)

    async def _capacity(self) -> None:
        client = self._client
        while client.session is not None and (not client.is_writable or client.session.is_queue_half_full):
            await client.room()

    def _deliver(self, options: SubscriptionOptions, lookup: RetainedLookup, found: list[Retained]) -> None:
        for each in found:
            if not lookup.has_come_live(each):
                self._deliver_one(each.message, options, each.version)

    def _deliver_one(self, message: Message, options: SubscriptionOptions, version: int | None = None) -> None:
        session, now = self._client.session, self._client.broker.monotonic()
        if session is None:
            return
        publish = self._client.broker.outgoing(message, now)
        if not publish.is_expired(now):
            identifiers = (options.subscription_identifier,) if options.subscription_identifier else ()
            delivery = Delivery(publish, min(message.qos, options.qos), True, identifiers)
            delivery.retained_version = version
            session.deliver(delivery, now)
