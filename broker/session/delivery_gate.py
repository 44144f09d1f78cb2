"""Messages on their way to one client, where plugins judge what it may receive: none is sent before they have said yes.

Messages of QoS 0, and all of a session that ends with its connection, wait here for the answer; what a session that lasts
has in the store waits there. Order stays: what comes behind a message that waits, waits too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from broker.host.interface import Action

if TYPE_CHECKING:
    from broker.host.plugin_client import PluginClient
    from broker.session.client import Client
    from broker.session.session import Delivery


class DeliveryGate:
    """The deliveries of one network connection; what waits has the bounds of a session's queue."""

    __slots__ = ("_asking", "_client", "_is_letting_through", "_limits", "_plugins", "_waiting", "_waiting_bytes")

    def __init__(self, client: Client, plugins: PluginClient) -> None:
        self._client = client
        self._plugins = plugins
        self._limits = client.broker.sessions.limits
        self._asking: set[str] = set()
        self._waiting: deque[Delivery] = deque()
        self._waiting_bytes = 0
        self._is_letting_through = False

    def judge(self, topic_name: str) -> bool | None:
        """Tell whether the client may receive it; None: not known yet, the session is told to send what it has queued later."""
        is_allowed = self._plugins.cached(topic_name, Action.RECEIVE)
        if is_allowed is None and topic_name not in self._asking and not self._client.is_closing:
            self._asking.add(topic_name)
            self._client.start(self._ask(topic_name))
        return is_allowed

    def lets_through(self, delivery: Delivery) -> bool:
        """Tell whether a delivery may go on now. One that may not is refused, or waits and is delivered again later."""
        if self._is_letting_through:
            return True
        is_allowed = None if self._waiting else self.judge(delivery.publish.message.topic_name)
        if is_allowed is None:
            self._hold(delivery)
        return bool(is_allowed)

    def _hold(self, delivery: Delivery) -> None:
        size_bytes, limits = delivery.publish.size_bytes, self._limits
        if len(self._waiting) >= limits.queue_messages or self._waiting_bytes + size_bytes > limits.queue_bytes:
            self._client.broker.counters.messages_dropped += 1
            return
        self._waiting.append(delivery)
        self._waiting_bytes += size_bytes

    async def _ask(self, topic_name: str) -> None:
        await self._plugins.is_allowed(topic_name, Action.RECEIVE)
        self._asking.discard(topic_name)
        self._go_on()
        self._client.can_write()

    def _go_on(self) -> None:
        while self._waiting:
            is_allowed = self.judge(self._waiting[0].publish.message.topic_name)
            if is_allowed is None:
                return
            delivery = self._waiting.popleft()
            self._waiting_bytes -= delivery.publish.size_bytes
            if is_allowed:
                self._let_through(delivery)

    def _let_through(self, delivery: Delivery) -> None:
        session, now = self._client.session, self._client.broker.monotonic()
        if session is not None and session.attachment is self._client and not delivery.publish.is_expired(now):
            self._is_letting_through = True
            session.deliver(delivery, now)
            self._is_letting_through = False
