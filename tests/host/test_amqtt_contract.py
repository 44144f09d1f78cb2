"""What we take from amqtt, so that a release which changes it is noticed here and not by a user."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amqtt.broker import Broker, BrokerContext, RetainedApplicationMessage
from amqtt.contexts import Action as AmqttAction
from amqtt.contexts import BrokerConfig
from amqtt.events import BrokerEvents, MQTTEvents
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin, BaseTopicPlugin
from amqtt.plugins.topic_checking import TopicAccessControlListPlugin
from amqtt.session import IncomingApplicationMessage, Session
from amqtt.utils import import_string
from plugin_port import facts

from broker.host.broker_context import PluginContext
from broker.host.configuration import NOT_HONOURED
from broker.host.interface import Action, Event
from broker.host.plugin_session import PluginSession, SessionState

ROOT = Path(__file__).parents[2]


def test_without_plugins_amqtt_is_not_loaded():
    program = "import sys, broker.host.authentication, broker.host.interface; sys.exit('amqtt' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_events_and_actions_are_amqtts():
    assert {event.value for event in Event} == {event.value for event in BrokerEvents}
    assert {action.value for action in Action} == {action.value for action in AmqttAction}
    assert [event.value for event in MQTTEvents] == ["mqtt_packet_sent", "mqtt_packet_received"]


def test_the_configuration_has_the_keys_we_know():
    known = {field.name for field in dataclasses.fields(BrokerConfig)}
    assert known == {"plugins", *NOT_HONOURED} - {"topic-check"}


def test_plugins_are_asked_with_the_arguments_we_give():
    assert parameters(BaseAuthPlugin.authenticate) == ["self", "session"]
    assert parameters(BaseTopicPlugin.topic_filtering) == ["self", "session", "topic", "action"]
    assert inspect.iscoroutinefunction(BasePlugin.close)


@pytest.mark.parametrize("name", [name for name in vars(BrokerContext) if not name.startswith("_")])
def test_the_context_offers_all_that_amqtts_does_with_its_signatures(name: str):
    theirs, ours = vars(BrokerContext)[name], vars(PluginContext)[name]
    assert type(ours) is type(theirs)
    if inspect.isfunction(theirs):
        assert parameters(ours) == parameters(theirs)
        assert inspect.iscoroutinefunction(ours) is inspect.iscoroutinefunction(theirs)


def test_a_session_has_every_attribute_of_amqtts_but_its_state_machine():
    theirs, ours = Session(), PluginSession()
    assert vars(ours).keys() == vars(theirs).keys()
    for state, change in (("new", None), ("connected", "connected"), ("disconnected", "disconnected")):
        if change:
            getattr(ours, change)()
            getattr(theirs.transitions, change.removesuffix("ed"))()
        assert ours.transitions.state == theirs.transitions.state == state
        for name in ("is_new", "is_connected", "is_disconnected"):
            assert getattr(ours.transitions, name)() is getattr(theirs.transitions, name)()
        assert (ours.last_connect_time is None) == (theirs.last_connect_time is None)
        assert (ours.last_disconnect_time is None) == (theirs.last_disconnect_time is None)
    assert {name for name in vars(SessionState) if name.startswith("is_")} == {f"is_{name}" for name in Session.states}


def test_messages_take_what_we_give_them():
    assert parameters(IncomingApplicationMessage) == ["packet_id", "topic", "qos", "data", "retain"]
    assert parameters(RetainedApplicationMessage) == ["source_session", "topic", "data", "qos"]


def test_the_access_list_still_reads_the_options_we_give_it():
    source = inspect.getsource(TopicAccessControlListPlugin.topic_filtering)
    for option in ("publish-acl", "subscribe-acl", "receive-acl"):
        assert f'"{option}"' in source
    assert "self.topic_ac(" in source


WITNESS = """
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

class First(BaseAuthPlugin, BaseTopicPlugin):
    answer = None
    async def authenticate(self, *, session): return self.answer
    async def topic_filtering(self, *, session=None, topic=None, action=None): return self.answer

class Second(First): ...
"""


@pytest.mark.parametrize("first", [True, False, None])
@pytest.mark.parametrize("second", [True, False, None])
async def test_answers_are_put_together_as_amqtts_broker_does(
    load: Any, plugin_module: Any, first: bool | None, second: bool | None, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    module = plugin_module(WITNESS)
    module.First.answer, module.Second.answer = first, second
    names = [f"{module.__name__}.First", f"{module.__name__}.Second"]
    theirs = Broker({"plugins": {name: {} for name in names}}, asyncio.get_running_loop())
    host = await load(f"plugins: [{', '.join(names)}]", 5.0)
    client = host.client(facts("alice"))
    assert await client.authenticate() == await theirs._authenticate(client.session, theirs.listeners_config["default"])
    assert await client.is_allowed("a", Action.PUBLISH) == await theirs._topic_filtering(
        client.session, "a", AmqttAction.PUBLISH
    )


@pytest.mark.parametrize("path", ["amqtt.plugins.sys.broker.BrokerSysPlugin"])
def test_what_is_not_needed_exists(path: str):
    assert issubclass(import_string(path), BasePlugin)
