"""Topic names and filters: the specification's own examples, and the tree against the plain rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.routing.subscription_tree import SubscriptionOptions, SubscriptionTree
from broker.routing.topic_filter import is_valid_topic_filter, is_valid_topic_name, literal_prefix, matches

LEVELS = st.sampled_from(["a", "b", "", "$x", "long"])
TOPIC_NAMES = st.lists(LEVELS, min_size=1, max_size=5).map("/".join).filter(bool)
TOPIC_FILTERS = (
    st.tuples(st.lists(st.one_of(LEVELS, st.just("+")), min_size=1, max_size=5), st.booleans())
    .map(lambda drawn: "/".join([*drawn[0], "#"] if drawn[1] else drawn[0]))
    .filter(bool)
)


@pytest.mark.parametrize(
    "topic_filter", ["#", "+", "+/+", "/", "sport/#", "sport/+/player1", "+/tennis/#", "/finance", "$SYS/#"]
)
def test_valid_filters(topic_filter: str) -> None:
    assert is_valid_topic_filter(topic_filter, 64)


@pytest.mark.parametrize(
    "topic_filter", ["", "sport#", "sport/#/ranking", "sport+", "+sport", "a/+b", "a/b#", "##", "a\0b"]
)
def test_invalid_filters_mqtt_4_7_1_1(topic_filter: str) -> None:
    """[v3.1.1 MQTT-4.7.1-2, -3], [v5 MQTT-4.7.1-1, -2]."""
    assert not is_valid_topic_filter(topic_filter, 64)


def test_levels_are_bounded() -> None:
    assert is_valid_topic_filter("a/b/c", 3)
    assert not is_valid_topic_filter("a/b/c/d", 3)
    assert is_valid_topic_name("a/b/c", 3)
    assert not is_valid_topic_name("a/b/c/d", 3)


@pytest.mark.parametrize("topic_name", ["", "a/+", "#", "a\0"])
def test_invalid_topic_names_mqtt_3_3_2_2(topic_name: str) -> None:
    assert not is_valid_topic_name(topic_name, 64)


@pytest.mark.parametrize(
    ("topic_filter", "topic_name", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/monitor", False),
        ("+/monitor", "$SYS/monitor", False),
        ("$SYS/#", "$SYS/monitor", True),
        ("ACCOUNTS", "Accounts", False),
    ],
)
def test_examples_of_the_specification_4_7(topic_filter: str, topic_name: str, expected: bool) -> None:
    assert matches(topic_filter, topic_name) is expected
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.subscribe(topic_filter, "one", SubscriptionOptions())
    assert bool(tree.match(topic_name)) is expected


@given(st.lists(TOPIC_FILTERS, max_size=12), TOPIC_NAMES)
def test_tree_agrees_with_the_plain_rule(topic_filters: list[str], topic_name: str) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter in topic_filters:
        tree.subscribe(topic_filter, topic_filter, SubscriptionOptions())
    expected = {topic_filter for topic_filter in topic_filters if matches(topic_filter, topic_name)}
    assert {match.subscriber for match in tree.match(topic_name)} == expected


@given(TOPIC_FILTERS, TOPIC_NAMES)
def test_what_a_filter_matches_begins_with_its_literal_prefix(topic_filter: str, topic_name: str) -> None:
    if matches(topic_filter, topic_name):
        assert topic_name.startswith(literal_prefix(topic_filter))


@given(st.lists(TOPIC_FILTERS, max_size=12, unique=True))
def test_unsubscribing_leaves_an_empty_tree(topic_filters: list[str]) -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    for topic_filter in topic_filters:
        assert tree.subscribe(topic_filter, 1, SubscriptionOptions())
    assert tree.count == len(topic_filters)
    for topic_filter in topic_filters:
        assert tree.unsubscribe(topic_filter, 1)
        assert not tree.unsubscribe(topic_filter, 1)
    assert tree.count == 0
    assert not tree._root.children


def test_overlapping_subscriptions_are_taken_together() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.subscribe("a/#", "one", SubscriptionOptions(qos=0, is_no_local=True, subscription_identifier=7))
    tree.subscribe("a/+", "one", SubscriptionOptions(qos=2, retain_as_published=True, subscription_identifier=9))
    (match,) = tree.match("a/b")
    assert (match.qos, match.is_no_local, match.retain_as_published) == (2, False, True)
    assert sorted(match.subscription_identifiers) == [7, 9]


def test_a_changed_tree_forgets_its_answers() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    assert tree.match("a") == ()
    tree.subscribe("a", "one", SubscriptionOptions(qos=1))
    assert [match.qos for match in tree.match("a")] == [1]
    assert not tree.subscribe("a", "one", SubscriptionOptions(qos=0))
    assert [match.qos for match in tree.match("a")] == [0]
    tree.unsubscribe("a", "one")
    assert tree.match("a") == ()
