"""Packets of one client on their way to what they do, where plugins judge topics or hear of messages.

    received -> [ waiting ] -> plugins' answer -> handler

An answer that is not known yet takes a while. What the client sent behind it waits, so that nothing overtakes
[v5 MQTT-4.6.0-6], and nothing more is read from it meanwhile: what waits is no more than one read has brought.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from broker.host.interface import Action, Event, PublishFacts
from broker.session.subscribing import subscribe
from broker.wire.publish import Publish
from broker.wire.subscribe import Subscribe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broker.host.plugin_client import PluginClient
    from broker.host.plugin_host import PluginHost
    from broker.session.client import Client
    from broker.wire.codec import Packet

ASKED_AT_ONCE = 100  # of the topic filters of one SUBSCRIBE, which can hold tens of thousands


class PacketGate:
    """The packets of one network connection."""

    __slots__ = ("_asks", "_client", "_hears", "_host", "_plugins", "_waiting", "is_asking")

    def __init__(self, client: Client, host: PluginHost, plugins: PluginClient) -> None:
        self._client = client
        self._host = host
        self._plugins = plugins
        self._asks = host.has_topic_plugins
        self._hears = host.listens(Event.MESSAGE_RECEIVED)
        self._waiting: deque[Packet] = deque()
        self.is_asking = False

    def take(self, packets: Sequence[Packet]) -> None:
        """Act on packets in their order, now or when plugins have answered."""
        self._waiting += packets
        if not self.is_asking:
            self._go_on()

    def _go_on(self) -> None:
        client, waiting = self._client, self._waiting
        while waiting and not client.is_closing:
            packet = waiting.popleft()
            refused = self._known_refusals(packet)
            if refused is None:
                self.is_asking = True
                client.network.hold_reading()
                client.start(self._ask(packet))
                return
            self._act_on(packet, refused)
        waiting.clear()
        client.acted_on_all()

    async def _ask(self, packet: Packet) -> None:
        refused = await self._refusals(packet)
        self.is_asking = False
        if not self._client.is_closing:
            self._act_on(packet, refused)
        self._go_on()
        if not self.is_asking:
            self._client.read_on()

    def _known_refusals(self, packet: Packet) -> Collection[str] | None:
        """Return the packet's topics that are refused, None where plugins have to be asked."""
        if self._asks and type(packet) is Publish:
            is_allowed = self._plugins.cached(packet.topic_name, Action.PUBLISH)
            if is_allowed is None:
                return None
            return () if is_allowed else (packet.topic_name,)
        return None if self._asks and type(packet) is Subscribe else ()

    async def _refusals(self, packet: Packet) -> set[str]:
        if type(packet) is Publish:
            topics, action = [packet.topic_name], Action.PUBLISH
        else:
            assert type(packet) is Subscribe  # noqa: S101  nothing else is asked about
            topics, action = [each.topic_filter for each in packet.subscriptions], Action.SUBSCRIBE
        refused: set[str] = set()
        for start in range(0, len(topics), ASKED_AT_ONCE):
            asked = topics[start : start + ASKED_AT_ONCE]
            answers = await asyncio.gather(*(self._plugins.is_allowed(topic, action) for topic in asked))
            refused.update(topic for topic, is_allowed in zip(asked, answers, strict=True) if not is_allowed)
        return refused

    def _act_on(self, packet: Packet, refused: Collection[str]) -> None:
        client, session = self._client, self._client.session
        if type(packet) is Publish:
            if self._hears:
                self._tell(packet)
            if refused and not (packet.qos == 2 and session is not None and session.received.get(packet.packet_id)):
                client.deny(packet)
                return  # one that is stored already gets its PUBREC again, whatever has become of the right
        if type(packet) is Subscribe and session is not None:
            subscribe(client, client.broker, session, packet, refused)
        else:
            client.act_on(packet)

    def _tell(self, packet: Publish) -> None:
        session = self._client.session
        if session is not None:
            packet_id = packet.packet_id or None
            facts = PublishFacts(
                session.client_id, packet.topic_name, packet.payload, packet.qos, packet.is_retain, packet_id
            )
            self._host.message_received(facts)
