"""amqtt's BrokerContext on top of our broker: plugins call it in their thread, the broker's own loop does the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from amqtt.broker import BrokerContext

from broker.host.plugin_session import PluginSession, session_of_facts
from broker.wire.topic_name import check_topic_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from broker.host.interface import BrokerPort, SessionFacts

T = TypeVar("T")

AT_SUBSCRIBERS_QOS = 2  # amqtt's None: every subscriber gets the message at its subscription's maximum QoS


class PortBridge:
    """Carries calls over to the broker's event loop. `sessions` are those of connected clients that plugins have seen."""

    def __init__(self, port: BrokerPort, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self.port = port
        self.sessions: dict[str, PluginSession] = {}
        self.is_open = False
        self._loop = loop
        self._timeout_s = timeout_s

    async def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns in the broker's loop; raises what it raises."""
        return await asyncio.wrap_future(self._submit(function))

    def call_and_block(self, function: Callable[[], T]) -> T:
        """Do the same for a plugin that does not await; the plugins' thread stands still meanwhile. Raises TimeoutError."""
        return self._submit(function).result(self._timeout_s)

    def _submit(self, function: Callable[[], T]) -> Future[T]:
        if not self.is_open:  # while plugins load, the broker's loop waits for them
            raise RuntimeError("the broker is not running")

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop)


class PluginContext(BrokerContext):  # type: ignore[misc]
    """What plugins see of the broker, with amqtt's signatures. amqtt hands each plugin a copy of it."""

    def __init__(self, bridge: PortBridge) -> None:
        super().__init__(None)
        self._bridge = bridge

    async def broadcast_message(self, topic: str, data: bytes, qos: int | None = None) -> None:
        """Publish a message: it is stored and delivered as one of a client. Raises MalformedPacketError for a bad topic."""
        await self._publish(topic, data, qos, is_retain=False)

    async def retain_message(self, topic_name: str, data: bytes | bytearray, qos: int | None = None) -> None:
        """Publish a retained message; an empty one clears. Raises MalformedPacketError for a bad topic."""
        await self._publish(topic_name, data, qos, is_retain=True)

    async def _publish(self, topic_name: str, data: bytes | bytearray, qos: int | None, *, is_retain: bool) -> None:
        check_topic_name(topic_name)
        if qos not in (None, 0, 1, 2):
            raise ValueError(f"QoS {qos!r} is none of 0, 1, 2")
        bridge, payload = self._bridge, bytes(data)
        granted = AT_SUBSCRIBERS_QOS if qos is None else qos
        await bridge.call(lambda: bridge.port.publish(topic_name, payload, granted, is_retain=is_retain))

    @property
    def sessions(self) -> Iterator[PluginSession]:
        """The sessions of this node; none while plugins load, as in amqtt."""
        if self._bridge.is_open:
            for facts in self._bridge.call_and_block(lambda: list(self._bridge.port.sessions())):
                yield self._session_of(facts)

    def get_session(self, client_id: str) -> PluginSession | None:
        """Return a session of this node, None where there is none."""
        bridge = self._bridge
        if not bridge.is_open:
            return None
        facts = bridge.call_and_block(lambda: bridge.port.session(client_id))
        return None if facts is None else self._session_of(facts)

    @property
    def subscriptions(self) -> dict[str, list[tuple[PluginSession, int]]]:
        """The subscriptions of this node's sessions by topic filter; a copy."""
        if not self._bridge.is_open:
            return {}
        by_filter, known = self._bridge.call_and_block(self._subscriptions)
        sessions = {facts.client_id: self._session_of(facts) for facts in known}
        return {
            topic_filter: [(sessions[client_id], qos) for client_id, qos in subscribers if client_id in sessions]
            for topic_filter, subscribers in by_filter.items()
        }

    def _subscriptions(self) -> tuple[dict[str, list[tuple[str, int]]], list[SessionFacts]]:
        # In the broker's loop: copy, and nothing more.
        port = self._bridge.port
        by_filter = {topic_filter: list(subscribers) for topic_filter, subscribers in port.subscriptions().items()}
        return by_filter, list(port.sessions())

    def _session_of(self, facts: SessionFacts) -> PluginSession:
        return self._bridge.sessions.get(facts.client_id) or session_of_facts(facts)

    @property
    def retained_messages(self) -> dict[str, Any]:
        """Not available: they are in the store, for all nodes. Raises NotImplementedError."""
        raise NotImplementedError("retained messages are in the store; subscribe to a topic to be sent its own")

    async def add_subscription(self, client_id: str, topic: str | None, qos: int | None) -> None:
        """Not available: sessions are in the store, and only their clients subscribe them. Raises NotImplementedError."""
        raise NotImplementedError("a session is subscribed by its client only")
