"""Plugins that amqtt brings along, with real files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plugin_port import facts
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from broker.host.interface import Action, Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_AUTH = "amqtt.plugins.authentication.FileAuthPlugin"
ANONYMOUS_AUTH = "amqtt.plugins.authentication.AnonymousAuthPlugin"
ACL = "amqtt.plugins.topic_checking.TopicAccessControlListPlugin"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "passwords.txt"
    password_hash = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)).hash("secret")
    path.write_text(f"# user:hash\nalice:{password_hash}\n")
    return path


@pytest.mark.parametrize(
    ("username", "password", "is_allowed"),
    [
        ("alice", b"secret", True),
        ("alice", b"wrong", False),
        ("alice", None, False),
        ("bob", b"secret", False),
        (None, None, False),
    ],
)
async def test_password_file(
    load: Callable[..., Any], password_file: Path, username: str | None, password: bytes | None, is_allowed: bool
):
    host = await load(f"plugins: {{{FILE_AUTH}: {{password_file: {password_file}}}}}", 5.0)
    assert host.has_auth_plugins
    assert not host.has_topic_plugins
    assert await host.client(facts(username, password)).authenticate() is is_allowed


async def test_all_authentication_plugins_have_to_agree(load: Callable[..., Any], password_file: Path):
    host = await load(
        f"""
        plugins:
          {FILE_AUTH}: {{password_file: {password_file}}}
          {ANONYMOUS_AUTH}: {{allow_anonymous: true}}
        """,
        5.0,
    )
    assert await host.client(facts()).authenticate()  # the password file has no opinion on clients without a user name
    assert await host.client(facts("alice", b"secret")).authenticate()
    assert not await host.client(facts("alice", b"wrong")).authenticate()


@pytest.mark.parametrize(
    ("allow", "username", "is_allowed"), [("true", None, True), ("false", None, False), ("false", "a", True)]
)
async def test_anonymous(load: Callable[..., Any], allow: str, username: str | None, is_allowed: bool):
    host = await load(f"plugins: {{{ANONYMOUS_AUTH}: {{allow_anonymous: {allow}}}}}")
    assert await host.client(facts(username)).authenticate() is is_allowed


async def test_without_an_authentication_plugin_nobody_is_let_in(load: Callable[..., Any]):
    host = await load("plugins: {}")
    assert not host.has_auth_plugins
    assert not await host.client(facts("alice", b"secret")).authenticate()
    assert await host.client(facts()).is_allowed("any/topic", Action.PUBLISH)


async def test_plugins_may_be_a_list(load: Callable[..., Any]):
    host = await load(f"plugins: [{ANONYMOUS_AUTH}, {{{ACL}: {{publish_acl: {{alice: [a/b]}}}}}}]")
    assert host.has_auth_plugins
    assert host.has_topic_plugins


async def test_access_control_list(load: Callable[..., Any]):
    host = await load(
        f"""
        plugins:
          {ACL}:
            publish_acl: {{alice: ["dev/+/up", "$SYS/own"], anonymous: [open]}}
            subscribe_acl: {{alice: ["dev/+", "all/#"]}}
        """
    )
    alice, nobody = host.client(facts("alice")), host.client(facts())
    for client, topic, action, is_allowed in [
        (alice, "dev/1/up", Action.PUBLISH, True),
        (alice, "dev/1/down", Action.PUBLISH, False),
        (alice, "$SYS/own", Action.PUBLISH, True),
        (alice, "dev/+", Action.SUBSCRIBE, True),
        (alice, "dev/1", Action.SUBSCRIBE, True),
        (alice, "dev/#", Action.SUBSCRIBE, False),  # amqtt allows it
        (alice, "all", Action.SUBSCRIBE, True),
        (alice, "all/+/x", Action.SUBSCRIBE, True),
        (alice, "$share/group/all/#", Action.SUBSCRIBE, True),
        (alice, "$share/group/dev/#", Action.SUBSCRIBE, False),
        (alice, "dev/1/up", Action.RECEIVE, True),
        (nobody, "open", Action.PUBLISH, True),
        (nobody, "dev/1/up", Action.PUBLISH, False),
        (nobody, "all/#", Action.SUBSCRIBE, False),
    ]:
        assert await client.is_allowed(topic, action) is is_allowed, (topic, action)
    assert not host.has_receive_plugins


async def test_access_control_list_by_its_old_name_and_for_receiving(load: Callable[..., Any]):
    host = await load(f"plugins: {{{ACL}: {{acl: {{alice: [old]}}, receive_acl: {{alice: [a/#]}}}}}}")
    alice = host.client(facts("alice"))
    assert host.has_receive_plugins
    assert await alice.is_allowed("old", Action.SUBSCRIBE)
    assert not await alice.is_allowed("new", Action.SUBSCRIBE)
    assert await alice.is_allowed("a/b", Action.RECEIVE)
    assert not await alice.is_allowed("b", Action.RECEIVE)


async def test_taboo_topics(load: Callable[..., Any]):
    host = await load("plugins: [amqtt.plugins.topic_checking.TopicTabooPlugin]")
    assert host.has_receive_plugins
    assert not await host.client(facts("alice")).is_allowed("top-secret", Action.SUBSCRIBE)
    assert await host.client(facts("admin")).is_allowed("top-secret", Action.SUBSCRIBE)


async def test_amqtts_default_file_costs_nothing_for_messages(
    load: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    host = await load(
        f"""
        listeners: {{default: {{type: tcp, bind: "0.0.0.0:1883"}}}}
        plugins:
          amqtt.plugins.logging_amqtt.EventLoggerPlugin:
          amqtt.plugins.logging_amqtt.PacketLoggerPlugin:
          {ANONYMOUS_AUTH}: {{allow_anonymous: true}}
          amqtt.plugins.sys.broker.BrokerSysPlugin: {{sys_interval: 20}}
        """
    )
    assert [event for event in Event if host.listens(event)] == [Event.CLIENT_CONNECTED, Event.CLIENT_DISCONNECTED]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "broker.host.plugin_host"]
    for said in (
        "listeners has no effect",
        "BrokerSysPlugin is not needed",
        "PacketLoggerPlugin is not told of packets",
    ):
        assert said in line


async def test_a_password_that_is_not_text_cannot_be_asked_about(load: Callable[..., Any]):
    host = await load(f"plugins: [{ANONYMOUS_AUTH}]")
    with pytest.raises(UnicodeDecodeError):
        host.client(facts("alice", b"\xff"))
