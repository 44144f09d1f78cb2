"""What plugins may do with the broker (`broker.host.interface.BrokerPort`), and how they hear what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.host.interface import PublishFacts, SessionFacts
from store.model import RETAIN_FLAG, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.host.plugin_host import PluginHost
    from broker.session.message_broker import MessageBroker
    from broker.session.session import Session

PLUGINS_CLIENT_ID = "plugins"


class PluginMessage(Message):
    """A message that a plugin has published. Plugins do not hear of it: one that answers messages would never end."""


class PluginPort:
    """The broker for plugins. Called in its event loop."""

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker

    def publish(self, topic_name: str, payload: bytes, qos: int, *, is_retain: bool) -> None:
        """Take a message as if a client had published it."""
        flags = qos | (RETAIN_FLAG if is_retain else 0)
        message = PluginMessage(topic_name, PLUGINS_CLIENT_ID, self._broker.wall_ms(), flags, payload)
        self._broker.committer.add(message)

    def sessions(self) -> list[SessionFacts]:
        """Return the sessions of this node."""
        return [_facts(session) for session in self._broker.sessions]

    def session(self, client_id: str) -> SessionFacts | None:
        """Return one session of this node, None where there is none."""
        session = self._broker.sessions.get(client_id)
        return None if session is None else _facts(session)

    def subscriptions(self) -> dict[str, list[tuple[str, int]]]:
        """Return client id and maximum QoS of each subscriber, by topic filter."""
        by_filter: dict[str, list[tuple[str, int]]] = {}
        for session in self._broker.sessions:
            for topic_filter, options in session.subscriptions.items():
                by_filter.setdefault(topic_filter, []).append((session.client_id, options.qos))
        return by_filter


def tell_stored(host: PluginHost, messages: Iterable[Message]) -> None:
    """Let plugins know of stored messages, except their own."""
    for message in messages:
        if type(message) is not PluginMessage:
            facts = PublishFacts(message.client_id, message.topic_name, message.payload, message.qos, message.is_retain)
            host.message_stored(facts)


def _facts(session: Session) -> SessionFacts:
    attachment = session.attachment
    return SessionFacts(
        session.client_id,
        None,  # of connected clients the plugin host knows it; of others nobody keeps it
        attachment is not None,
        not session.is_lasting,
        0 if attachment is None else attachment.protocol.keep_alive_s,
    )
