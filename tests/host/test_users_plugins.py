"""Plugins that a user writes: what they are told, what they may do, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugin_port import PATIENCE_S, RecordingPort, facts, until

from broker.host import plugin_events, plugin_host
from broker.host.interface import Action, Event, PluginConfigurationError, PublishFacts, SessionFacts

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENER = """
    import asyncio, threading, time
    from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin

    heard, asked, gate = [], [], threading.Event()

    class Listener(BasePlugin):
        async def on_broker_pre_start(self): heard.append("pre_start")
        async def on_broker_post_start(self): heard.append("post_start")
        async def on_broker_pre_shutdown(self): heard.append("pre_shutdown")
        async def on_broker_post_shutdown(self): heard.append("post_shutdown")
        async def on_broker_client_connected(self, client_id, client_session):
            heard.append(("connected", client_id, client_session.username, client_session.transitions.is_connected()))
        async def on_broker_client_disconnected(self, client_id, client_session): heard.append(("disconnected", client_id))
        async def on_broker_client_subscribed(self, client_id, topic, qos): heard.append(("subscribed", client_id, topic, qos))
        async def on_broker_client_unsubscribed(self, client_id, topic): heard.append(("unsubscribed", client_id, topic))
        async def on_broker_message_received(self, client_id, message):
            heard.append(("received", client_id, message.topic, message.data, message.qos, message.publish_packet.retain_flag))
        async def on_broker_message_broadcast(self, client_id, message): heard.append(("broadcast", client_id, message.topic))
        async def on_broker_retained_message(self, *, client_id, retained_message):
            heard.append(("retained", client_id, retained_message.topic, retained_message.data))
        async def close(self): heard.append("closed")

    class Says(BaseAuthPlugin, BaseTopicPlugin):
        answer = True
        async def authenticate(self, *, session):
            return await self.reply(session)
        async def topic_filtering(self, *, session=None, topic=None, action=None):
            asked.append((session.client_id, topic, action))
            return await self.reply(session)
        async def reply(self, session):
            return self.answer

    class SaysNothing(Says):
        answer = None

    class Raises(Says):
        async def reply(self, session):
            raise ValueError("no database")

    class Hangs(Says):
        async def reply(self, session):
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if gate.is_set():
                        raise

    class Blocks(Says):
        async def reply(self, session):
            gate.wait()
            return True

    class Exits(Says):
        async def reply(self, session):
            raise SystemExit(1)
"""


@pytest.fixture
def users(plugin_module: Callable[[str], Any]) -> Any:
    module = plugin_module(LISTENER)
    yield module
    module.gate.set()


async def test_events_come_in_order_with_amqtts_arguments(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Listener]")
    await host.serving()
    client = host.client(facts("alice"))
    client.connected()
    await until(lambda: len(users.heard) == 3)  # a session changes its state as soon as its client does
    client.subscribed("a/#", 1)
    for message in (
        PublishFacts("client-1", "a/b", b"1", 1, is_retain=True, packet_id=7),
        PublishFacts("client-1", "a/c", b"2", 0, is_retain=False),
    ):
        host.message_received(message)
        host.message_stored(message)
    client.unsubscribed("a/#")
    client.disconnected()
    await host.draining()
    await host.stop()
    assert users.heard == [
        "pre_start",
        "post_start",
        ("connected", "client-1", "alice", True),
        ("subscribed", "client-1", "a/#", 1),
        ("received", "client-1", "a/b", b"1", 1, True),
        ("broadcast", "client-1", "a/b"),
        ("retained", None, "a/b", b"1"),
        ("received", "client-1", "a/c", b"2", 0, False),
        ("broadcast", "client-1", "a/c"),
        ("unsubscribed", "client-1", "a/#"),
        ("disconnected", "client-1"),
        "pre_shutdown",
        "post_shutdown",
        "closed",
    ]


async def test_where_nobody_listens_nothing_is_kept(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Says]")
    assert not any(host.listens(event) for event in Event)


@pytest.mark.parametrize("plugin", ["Raises", "Hangs", "Blocks", "SaysNothing", "Exits"])
async def test_a_plugin_without_an_answer_counts_as_no(load: Callable[..., Any], users: Any, plugin: str):
    host = await load(f"plugins: [{users.__name__}.Says, {users.__name__}.{plugin}]", 0.1)
    began = time.monotonic()
    client = host.client(facts())
    if plugin != "SaysNothing":  # which leaves authentication to the other plugin
        assert not await client.authenticate()
    assert not await client.is_allowed("a", Action.PUBLISH)
    assert client.cached("a", Action.PUBLISH) is False  # for a while, so that a client does not wait at each message
    assert time.monotonic() - began < PATIENCE_S
    users.gate.set()


async def test_a_blocked_thread_refuses_at_once_and_goes_on_when_it_can(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Blocks]", 0.1)
    assert not await host.client(facts()).authenticate()
    began = time.monotonic()
    assert not any([await host.client(facts()).authenticate() for _ in range(100)])
    assert time.monotonic() - began < 5  # not 100 time-outs
    users.gate.set()

    async with asyncio.timeout(PATIENCE_S):
        while not await host.client(facts()).authenticate():  # noqa: ASYNC110  each turn asks the plugin
            await asyncio.sleep(0.005)


async def test_a_plugin_that_never_returns_does_not_keep_the_broker_from_stopping(
    load: Callable[..., Any], plugin_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plugin_host, "LEAVE_TIMEOUT_S", 0.2)
    module = plugin_module(
        """
        import threading
        from amqtt.plugins.base import BasePlugin

        gate = threading.Event()

        class Stays(BasePlugin):
            async def on_broker_pre_shutdown(self):
                gate.wait()
        """
    )
    host = await load(f"plugins: [{module.__name__}.Stays]", 60.0)
    async with asyncio.timeout(PATIENCE_S):
        await host.draining()
        await host.stop()
    module.gate.set()


async def test_no_opinion_leaves_authentication_to_the_others(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Says, {users.__name__}.SaysNothing]")
    assert await host.client(facts()).authenticate()
    host = await load(f"plugins: [{users.__name__}.SaysNothing]")
    assert not await host.client(facts()).authenticate()


async def test_a_failure_is_logged_once(load: Callable[..., Any], users: Any, caplog: pytest.LogCaptureFixture):
    host = await load(f"plugins: [{users.__name__}.Raises]")
    client = host.client(facts())
    for number in range(20):
        assert not await client.is_allowed(f"a/{number}", Action.PUBLISH)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "Plugin Raises failed in topic_filtering."
    assert "no database" in caplog.text


async def test_decisions_are_remembered_for_one_connection_and_action(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Says]")
    client, other = host.client(facts()), host.client(facts())
    assert client.cached("a", Action.PUBLISH) is None
    assert await client.is_allowed("a", Action.PUBLISH)
    assert await client.is_allowed("a", Action.PUBLISH)
    assert client.cached("a", Action.PUBLISH) is True
    assert client.cached("a", Action.SUBSCRIBE) is None
    assert other.cached("a", Action.PUBLISH) is None
    assert users.asked == [("client-1", "a", "publish")]


async def test_a_plugin_that_fails_or_is_slow_harms_no_other(
    load: Callable[..., Any], users: Any, plugin_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plugin_events, "MAX_WAITING_EVENTS", 20)
    bad = plugin_module(
        """
        import asyncio
        from amqtt.plugins.base import BasePlugin

        class Fails(BasePlugin):
            async def on_broker_client_subscribed(self, client_id, topic, qos):
                raise RuntimeError(topic)

        class Slow(BasePlugin):
            async def on_broker_client_subscribed(self, client_id, topic, qos):
                await asyncio.sleep(3600)
        """
    )
    host = await load(f"plugins: [{bad.__name__}.Fails, {bad.__name__}.Slow, {users.__name__}.Listener]", 5.0)
    client = host.client(facts())
    for number in range(100):
        client.subscribed(f"a/{number}", 0)
        await until(lambda number=number: ("subscribed", "client-1", f"a/{number}", 0) in users.heard)
    assert host.dropped_events in range(79, 81)  # the slow plugin has one in hand and 20 waiting


# --- what plugins may do

CALLER = """
    from amqtt.plugins.base import BasePlugin

    seen = {}

    class Caller(BasePlugin):
        def __init__(self, context):
            super().__init__(context)
            seen["at first"] = (list(context.sessions), context.subscriptions, context.get_session("client-1"))

        async def on_broker_client_connected(self, client_id, client_session):
            context = self.context
            await context.broadcast_message("out/1", b"one")
            await context.broadcast_message("out/2", b"two", 1)
            await context.retain_message("out/3", bytearray(b"three"), qos=0)
            seen["sessions"] = [(s.client_id, s.username, s.transitions.state) for s in context.sessions]
            seen["is_same"] = context.get_session(client_id) is client_session
            seen["nobody"] = context.get_session("nobody")
            seen["offline"] = context.get_session("offline-1").client_id
            seen["subscriptions"] = {
                topic: [(session.client_id, qos) for session, qos in subscribers]
                for topic, subscribers in context.subscriptions.items()
            }
            for call in (lambda: context.broadcast_message("a/#", b""), lambda: context.broadcast_message("a", b"", 3),
                         lambda: context.add_subscription("client-1", "a", 0)):
                try:
                    await call()
                except Exception as error:
                    seen.setdefault("refused", []).append(type(error).__name__)
            seen["is_done"] = True
"""


async def test_the_context_speaks_to_the_broker(
    load: Callable[..., Any], plugin_module: Callable[[str], Any], port: RecordingPort
):
    module = plugin_module(CALLER)
    port.known = [SessionFacts("client-1", "alice", True), SessionFacts("offline-1", "bob", False)]
    port.subscribed = {"a/#": [("client-1", 1), ("offline-1", 0)]}
    host = await load(f"plugins: [{module.__name__}.Caller]", 5.0)
    host.client(facts("alice")).connected()
    await until(lambda: "is_done" in module.seen)
    assert port.published == [("out/1", b"one", 2, False), ("out/2", b"two", 1, False), ("out/3", b"three", 0, True)]
    assert module.seen == {
        "at first": ([], {}, None),
        "sessions": [("client-1", "alice", "connected"), ("offline-1", "bob", "disconnected")],
        "is_same": True,
        "nobody": None,
        "offline": "offline-1",
        "subscriptions": {"a/#": [("client-1", 1), ("offline-1", 0)]},
        "refused": ["MalformedPacketError", "ValueError", "NotImplementedError"],
        "is_done": True,
    }


async def test_a_session_taken_over_stays_when_the_old_connection_ends(load: Callable[..., Any], users: Any):
    host = await load(f"plugins: [{users.__name__}.Listener]")
    old, new = host.client(facts("alice")), host.client(facts("alice"))
    old.connected()
    new.connected()
    old.disconnected()
    host.message_stored(PublishFacts("client-1", "a", b"1", 0, is_retain=True))
    assert host._bridge.sessions == {"client-1": new.session}
    assert host._bridge.sessions["client-1"] is new.session


async def test_an_event_handler_has_to_be_a_coroutine(load: Callable[..., Any], plugin_module: Callable[[str], Any]):
    module = plugin_module(
        """
        from amqtt.plugins.base import BasePlugin

        class Plain(BasePlugin):
            def on_broker_pre_start(self): ...
        """
    )
    with pytest.raises(PluginConfigurationError, match="not a coroutine"):
        await load(f"plugins: [{module.__name__}.Plain]")
