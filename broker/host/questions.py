"""Asks plugins whether a client may connect, publish, subscribe, receive; whatever goes wrong, the answer is no.

Authentication, as in amqtt: None means "no opinion"; at least one plugin has to have one, and all that do have to say yes.
Topics, as in amqtt: every plugin has to say yes, None counts as no.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from amqtt.contexts import Action as AmqttAction

from broker.host.corrections import is_safe_to_ask
from broker.host.plugin_calls import PluginFailedError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

    from broker.host.interface import Action
    from broker.host.plugin_calls import FailureLog, PluginCalls
    from broker.host.plugin_session import PluginSession
    from broker.host.plugin_thread import PluginThread

SLACK_S = 0.5  # the plugins' thread notices a slow plugin itself; only one that blocks the thread takes longer


class Questions:
    """Called in the broker's loop; the plugins answer in their own thread, all at once."""

    def __init__(
        self,
        auth_plugins: Sequence[BaseAuthPlugin],
        topic_plugins: Sequence[BaseTopicPlugin],
        thread: PluginThread,
        calls: PluginCalls,
        failures: FailureLog,
        timeout_s: float,
    ) -> None:
        self._auth_plugins = auth_plugins
        self._topic_plugins = topic_plugins
        self._thread = thread
        self._calls = calls
        self._failures = failures
        self._timeout_s = timeout_s
        self._is_blocked = False

    async def may_connect(self, session: PluginSession) -> bool:
        """Tell whether the authentication plugins let this client in; False where there is none."""
        answers = await self._answers(self._ask_auth(session))
        opinions = [answer for answer in answers or () if answer is not None]
        return bool(opinions) and all(opinions)

    async def may_use_topic(self, session: PluginSession, topic: str, action: Action) -> bool | None:
        """Tell whether the topic plugins allow it; True where there is none, None where one failed: that means no, for now."""
        if not self._topic_plugins:
            return True
        answers = await self._answers(self._ask_topic(session, topic, AmqttAction(action.value)))
        return None if answers is None else all(answers)

    async def _answers(self, asking: Coroutine[Any, Any, list[Any]]) -> list[Any] | None:
        """Return each plugin's answer, None where one has failed or the plugins' thread is blocked."""
        if self._is_blocked:  # what waits for a blocked thread must not pile up
            asking.close()
            return None
        try:
            answers = asyncio.wrap_future(self._thread.submit(asking))
        except RuntimeError:  # the plugins have been stopped
            asking.close()
            return None
        try:
            return await asyncio.wait_for(answers, self._timeout_s + SLACK_S)
        except TimeoutError:
            self._is_blocked = True
            self._failures.note("(any)", "blocks the plugins' thread; everything is refused until it goes on")
            self._thread.loop.call_soon_threadsafe(self._unblocked)
        except PluginFailedError:
            pass
        return None

    def _unblocked(self) -> None:
        self._is_blocked = False

    # --- in the plugins' thread

    async def _ask_auth(self, session: PluginSession) -> list[Any]:
        return await _all(self._ask_auth_plugin(plugin, session) for plugin in self._auth_plugins)

    async def _ask_auth_plugin(self, plugin: BaseAuthPlugin, session: PluginSession) -> Any:
        if not is_safe_to_ask(plugin, session):
            return False
        return await self._calls.call(plugin, plugin.authenticate, session=session)

    async def _ask_topic(self, session: PluginSession, topic: str, action: AmqttAction) -> list[Any]:
        return await _all(self._ask_topic_plugin(plugin, session, topic, action) for plugin in self._topic_plugins)

    async def _ask_topic_plugin(
        self, plugin: BaseTopicPlugin, session: PluginSession, topic: str, action: AmqttAction
    ) -> Any:
        if not is_safe_to_ask(plugin, session):
            return False
        return await self._calls.call(plugin, plugin.topic_filtering, session=session, topic=topic, action=action)


async def _all(questions: Any) -> list[Any]:
    # Every answer is awaited even where one fails, so that no question is left running unseen.
    answers = await asyncio.gather(*questions, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers
