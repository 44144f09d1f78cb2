"""One client as plugins see it, from its CONNECT packet to the end of its network connection.

It belongs to the connection, not to the client id: a second connection that takes the session over has one of its own, so
that neither's end can take the other's rights away.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from broker.host.decisions import FAILURE_AGE_S
from broker.host.interface import Action, Event
from broker.host.plugin_session import session_of_client

if TYPE_CHECKING:
    from broker.host.decisions import Decisions
    from broker.host.interface import ClientFacts
    from broker.host.plugin_events import Listeners
    from broker.host.plugin_session import PluginSession
    from broker.host.questions import Questions

_numbers = itertools.count()


class PluginClient:
    """Made by `PluginHost.client`. All methods are called in the broker's loop."""

    __slots__ = ("_connected", "_decisions", "_listeners", "_number", "_questions", "session")

    def __init__(
        self,
        facts: ClientFacts,
        questions: Questions,
        decisions: Decisions,
        listeners: Listeners,
        connected: dict[str, PluginSession],
    ) -> None:
        self.session = session_of_client(facts)
        self._questions = questions
        self._decisions = decisions
        self._listeners = listeners
        self._connected = connected
        self._number = next(_numbers)

    async def authenticate(self) -> bool:
        """Tell whether the authentication plugins let the client in. No is the answer to every failure."""
        return await self._questions.may_connect(self.session)

    def cached(self, topic: str, action: Action) -> bool | None:
        """Return a decision that is known, without waiting; None: ask `is_allowed`."""
        return self._decisions.get((self._number, action, topic))

    async def is_allowed(self, topic: str, action: Action) -> bool:
        """Tell whether the topic plugins allow it: a topic name, or a topic filter for SUBSCRIBE."""
        question = (self._number, action, topic)
        known = self._decisions.get(question)
        if known is not None:
            return known
        answer = await self._questions.may_use_topic(self.session, _without_share(topic), action)
        if answer is None:
            self._decisions.put(question, is_allowed=False, age_s=FAILURE_AGE_S)
            return False
        self._decisions.put(question, is_allowed=answer)
        return answer

    # --- events

    def connected(self) -> None:
        """The client's CONNECT was accepted."""
        self.session.connected()
        self._connected[self.session.client_id] = self.session
        self._listeners.fire(Event.CLIENT_CONNECTED, client_id=self.session.client_id, client_session=self.session)

    def disconnected(self) -> None:
        """The network connection has ended, after `connected`."""
        client_id = self.session.client_id
        if self._connected.get(client_id) is self.session:
            del self._connected[client_id]
        self.session.disconnected()
        self._listeners.fire(Event.CLIENT_DISCONNECTED, client_id=client_id, client_session=self.session)

    def subscribed(self, topic_filter: str, qos: int) -> None:
        """A subscription was granted."""
        self._listeners.fire(Event.CLIENT_SUBSCRIBED, client_id=self.session.client_id, topic=topic_filter, qos=qos)

    def unsubscribed(self, topic_filter: str) -> None:
        """A subscription was given up."""
        self._listeners.fire(Event.CLIENT_UNSUBSCRIBED, client_id=self.session.client_id, topic=topic_filter)


def _without_share(topic: str) -> str:
    """Return the topic filter inside a shared subscription: plugins of amqtt know none [v5 MQTT-4.8.2-1]."""
    return topic.split("/", 2)[-1] if topic.startswith("$share/") else topic
