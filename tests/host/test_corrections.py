"""What amqtt's packaged plugins get wrong, and that it is put right: for them, for their users, and for what is asked of LDAP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from amqtt.plugins import TopicMatcher
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.plugins.topic_checking import TopicAccessControlListPlugin
from hypothesis import given
from hypothesis import strategies as st

from broker.host.corrections import covers, is_safe_to_ask
from broker.host.plugin_session import PluginSession
from broker.routing.topic_filter import matches

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = st.sampled_from(["a", "b", "+", ""])
FILTERS = st.builds(
    lambda levels, has_rest: "/".join([*levels, "#"] if has_rest else levels),
    st.lists(LEVELS, min_size=1, max_size=4),
    st.booleans(),
)
NAMES = st.lists(st.sampled_from(["a", "b", "", "c"]), min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("requested", "allowed", "expected"),
    [
        ("dev/#", "dev/+", False),
        ("dev/#", "dev/#", True),
        ("dev/+", "dev/#", True),
        ("dev/+", "dev/1", False),
        ("dev", "dev/#", True),
        ("dev", "dev/+", False),
        ("dev/1/2", "dev/+", False),
        ("#", "#", True),
        ("#", "+/#", False),
        ("+", "#", True),
        ("$SYS/x", "#", False),
        ("$SYS/x", "+/x", False),
        ("$SYS/#", "$SYS/#", True),
    ],
)
def test_covers(requested: str, allowed: str, expected: bool):
    assert covers(requested, allowed) is expected


@given(requested=FILTERS, allowed=FILTERS, name=NAMES)
def test_whatever_a_covered_filter_matches_the_allowed_one_matches_too(requested: str, allowed: str, name: str):
    if covers(requested, allowed) and matches(requested, name):
        assert matches(allowed, name)


@given(allowed=FILTERS, name=NAMES)
def test_for_a_topic_name_it_is_matching(allowed: str, name: str):
    assert covers(name, allowed) == matches(allowed, name)


async def test_both_functions_of_amqtt_are_replaced(load: Callable[..., Any]):
    await load("plugins: {}")
    assert not TopicMatcher().is_topic_allowed("dev/#", "dev/+")
    assert not TopicMatcher().are_topics_allowed("dev/#", ["dev/+", "dev/1"])
    assert not TopicAccessControlListPlugin.topic_ac("dev/#", "dev/+")


class LdapPlugin(BaseAuthPlugin):
    __module__ = "amqtt.contrib.ldap"


class UsersLdapPlugin(LdapPlugin):
    __module__ = "users.plugins"


@pytest.mark.parametrize("plugin", [LdapPlugin, UsersLdapPlugin])
@pytest.mark.parametrize(
    ("username", "password", "is_safe"),
    [
        ("alice", "secret", True),
        ("alice", "", False),  # RFC 4513 §5.1.2: an empty password binds anonymously, with success
        ("alice", None, False),
        (None, "secret", False),
        ("*", "secret", False),
        ("a)(uid=*", "secret", False),
    ],
)
def test_ldap_is_not_asked_what_it_would_answer_wrongly(
    plugin: type[BaseAuthPlugin], username: str | None, password: str | None, is_safe: bool
):
    session = PluginSession()
    session.username, session.password = username, password
    assert is_safe_to_ask(plugin.__new__(plugin), session) is is_safe
    assert is_safe_to_ask(BaseAuthPlugin.__new__(BaseAuthPlugin), session)
