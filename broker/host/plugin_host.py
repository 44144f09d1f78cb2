"""amqtt's plugins in our broker: loaded from BROKER_CONFIG, asked, told, and kept from harming the data path.

Importing this module loads amqtt; a broker without BROKER_CONFIG does not.

load -> start -> (listen) -> serving -> … -> draining -> stop
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from amqtt.broker import RetainedApplicationMessage
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import IncomingApplicationMessage

from broker.deadline import Deadline
from broker.host.broker_context import PluginContext, PortBridge
from broker.host.configuration import read_configuration
from broker.host.corrections import checks_receive, correct_packaged_plugins
from broker.host.decisions import Decisions
from broker.host.interface import Event, PluginConfigurationError
from broker.host.loading import handlers_of, hears_packets, load_plugins
from broker.host.plugin_calls import FailureLog, PluginCalls
from broker.host.plugin_client import PluginClient
from broker.host.plugin_events import Listeners, PluginEvents
from broker.host.plugin_thread import PluginThread
from broker.host.questions import SLACK_S, Questions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amqtt.plugins.base import BasePlugin

    from broker.host.configuration import PluginConfiguration
    from broker.host.interface import BrokerPort, ClientFacts, PublishFacts

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 30.0
LEAVE_TIMEOUT_S = 2.0  # for each step of a stop, whatever PLUGIN_TIMEOUT_S is
STOP_TIMEOUT_S = 5.0


class PluginHost:
    """All plugins of this process. Methods are called in the broker's loop and never block it."""

    def __init__(
        self, plugins: Sequence[BasePlugin], thread: PluginThread, bridge: PortBridge, timeout_s: float
    ) -> None:
        auth_plugins = [plugin for plugin in plugins if isinstance(plugin, BaseAuthPlugin)]
        topic_plugins = [plugin for plugin in plugins if isinstance(plugin, BaseTopicPlugin)]
        self.has_auth_plugins = bool(auth_plugins)
        self.has_topic_plugins = bool(topic_plugins)
        self.has_receive_plugins = any(checks_receive(plugin) for plugin in topic_plugins)
        self._plugins = plugins
        self._thread = thread
        self._bridge = bridge
        self._is_stopped = False
        self._timeout_s = timeout_s
        failures = FailureLog()
        self._calls = PluginCalls(timeout_s, failures)
        self._questions = Questions(auth_plugins, topic_plugins, thread, self._calls, failures, timeout_s)
        self._decisions = Decisions()
        self._events = [PluginEvents(plugin, handlers_of(plugin), self._calls) for plugin in plugins]
        self._listeners = Listeners(self._events)

    @classmethod
    def load(cls, path: str | Path, port: BrokerPort, timeout_s: float = 5.0) -> PluginHost:
        """Load the plugins that the file at `path` names. Call it in the broker's loop, before it serves: it blocks.

        Raises PluginConfigurationError with one line for each thing that is wrong with the file or a plugin.
        """
        configuration = read_configuration(path)
        correct_packaged_plugins()
        bridge = PortBridge(port, asyncio.get_running_loop(), timeout_s)
        thread = PluginThread()
        try:
            plugins = thread.submit(_load(configuration, PluginContext(bridge))).result(LOAD_TIMEOUT_S)
            host = cls(plugins, thread, bridge, timeout_s)
        except TimeoutError:
            thread.stop()
            raise PluginConfigurationError([f"{path}: plugins did not load within {LOAD_TIMEOUT_S:g} s."]) from None
        except BaseException:
            thread.stop()
            raise
        _announce(configuration, plugins)
        return host

    @property
    def dropped_events(self) -> int:
        """Events that were dropped because a plugin was too slow."""
        return self._listeners.dropped

    # --- life

    async def start(self) -> None:
        """Fire pre_start and wait for it; a plugin that fails is logged and stays."""
        self._bridge.is_open = True
        for events in self._events:
            self._thread.submit(events.run())
        await self._listeners.fire_and_wait(Event.PRE_START, self._timeout_s + SLACK_S)

    async def serving(self) -> None:
        """Fire post_start and wait for it: the broker listens."""
        await self._listeners.fire_and_wait(Event.POST_START, self._timeout_s + SLACK_S)

    async def draining(self, timeout_s: float = LEAVE_TIMEOUT_S) -> None:
        """Fire pre_shutdown and wait for it: no more is read from clients. Plugins may let go of what they ask with."""
        await self._listeners.fire_and_wait(Event.PRE_SHUTDOWN, timeout_s)

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Fire post_shutdown, close every plugin and end their thread, in `timeout_s` and another second at most."""
        if self._is_stopped:
            return
        self._is_stopped = True
        deadline = Deadline(timeout_s)
        await self._listeners.fire_and_wait(Event.POST_SHUTDOWN, deadline.left_s(LEAVE_TIMEOUT_S))
        closing = asyncio.wrap_future(self._thread.submit(self._close()))
        await asyncio.wait({closing}, timeout=deadline.left_s(LEAVE_TIMEOUT_S))
        closing.cancel()
        self._bridge.is_open = False
        for events in self._events:
            events.end()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.stop)

    async def _close(self) -> None:
        closing = (self._calls.call(plugin, plugin.close) for plugin in self._plugins)
        await asyncio.gather(*closing, return_exceptions=True)  # what fails is logged by the call

    # --- clients and messages

    def client(self, facts: ClientFacts) -> PluginClient:
        """Return a connection's client for plugins to judge. Raises UnicodeDecodeError for a password that is not text."""
        return PluginClient(facts, self._questions, self._decisions, self._listeners, self._bridge.sessions)

    def listens(self, event: Event) -> bool:
        """Tell whether any plugin listens to an event; ask once and keep the answer."""
        return self._listeners.listens(event)

    def message_received(self, facts: PublishFacts) -> None:
        """A client has sent a message, allowed or not."""
        self._listeners.fire(Event.MESSAGE_RECEIVED, client_id=facts.client_id, message=_message(facts))

    def message_stored(self, facts: PublishFacts) -> None:
        """A message is stored and goes to its subscribers: broker_message_broadcast, and broker_retained_message."""
        self._listeners.fire(Event.MESSAGE_BROADCAST, client_id=facts.client_id, message=_message(facts))
        if facts.is_retain:
            session = self._bridge.sessions.get(facts.client_id)
            retained = RetainedApplicationMessage(session, facts.topic_name, facts.payload, facts.qos)
            self._listeners.fire(Event.RETAINED_MESSAGE, client_id=None, retained_message=retained)


async def _load(configuration: PluginConfiguration, context: PluginContext) -> list[BasePlugin]:
    return load_plugins(configuration.plugins, context, asyncio.get_running_loop())


def _announce(configuration: PluginConfiguration, plugins: Sequence[BasePlugin]) -> None:
    names = ", ".join(type(plugin).__name__ for plugin in plugins) or "none"
    notes = list(configuration.notes)
    notes += [f"{type(plugin).__name__} is not told of packets." for plugin in plugins if hears_packets(plugin)]
    log.info("%s", " ".join([f"Plugins: {names}.", *notes]))


def _message(facts: PublishFacts) -> IncomingApplicationMessage:
    message = IncomingApplicationMessage(facts.packet_id, facts.topic_name, facts.qos, facts.payload, facts.is_retain)
    message.publish_packet = message.build_publish_packet()
    return message
