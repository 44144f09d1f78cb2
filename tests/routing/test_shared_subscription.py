"""Shared subscriptions: their syntax, whose turn it is, and where a message may go when its member leaves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.routing.shared_subscription import SharedGroup, may_go_to_another, parse_shared
from broker.routing.subscription_tree import SubscriptionOptions, SubscriptionTree
from broker.routing.topic_filter import is_valid_topic_filter

QOS_1 = SubscriptionOptions(qos=1)


def everybody(_: str) -> bool:
    return True


def nobody(_: str) -> bool:
    return False


def tree_of(*subscriptions: tuple[str, str]) -> SubscriptionTree[str]:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter, subscriber in subscriptions:
        tree.subscribe(topic_filter, subscriber, QOS_1)
    return tree


def only_group(tree: SubscriptionTree[str], topic_name: str) -> SharedGroup[str]:
    (group,) = tree.match_shared(topic_name)
    return group


def turns(group: SharedGroup[str], count: int) -> list[str]:
    return [chosen.subscriber for _ in range(count) if (chosen := group.choose(everybody))]


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("$share/consumer1/sport/tennis/+", ("consumer1", "sport/tennis/+")),
        ("$share/g//finance", ("g", "/finance")),
        ("$share/g/#", ("g", "#")),
        ("$share/$share/a", ("$share", "a")),
        ("sport/tennis", None),
        ("$share", None),
        ("$SHARE/g/a", None),
        ("a/$share/g/b", None),
    ],
)
def test_v5_mqtt_4_8_2_1_group_and_filter(topic_filter: str, expected: tuple[str, str] | None) -> None:
    assert parse_shared(topic_filter) == expected
    assert is_valid_topic_filter(topic_filter, 64)


@pytest.mark.parametrize(
    "topic_filter",
    ["$share/", "$share//a", "$share/g", "$share/g/", "$share/g+/a", "$share/#/a", "$share/+/a", "$share/g\0/a"],
)
def test_v5_mqtt_4_8_2_2_malformed_shared_filters(topic_filter: str) -> None:
    """[v5 MQTT-4.8.2-1], [v5 MQTT-4.8.2-2]."""
    assert not is_valid_topic_filter(topic_filter, 64)


@pytest.mark.parametrize("inner", ["a/#/b", "a+", "a\0b", "a/b/c/d"])
def test_the_inner_filter_has_to_be_valid(inner: str) -> None:
    assert not is_valid_topic_filter(f"$share/g/{inner}", 3)
    assert is_valid_topic_filter("$share/g/a/b/c", 3)


def test_members_take_turns() -> None:
    group = only_group(tree_of(("$share/g/a", "one"), ("$share/g/a", "two"), ("$share/g/a", "three")), "a")
    assert turns(group, 7) == ["one", "two", "three", "one", "two", "three", "one"]


def test_those_who_are_ready_come_first_and_share_evenly() -> None:
    group = only_group(tree_of(*[("$share/g/a", name) for name in "abcd"]), "a")
    chosen = [group.choose(lambda subscriber: subscriber in "bd") for _ in range(10)]
    assert Counter(each.subscriber for each in chosen if each) == {"b": 5, "d": 5}


def test_with_nobody_ready_somebody_is_chosen_all_the_same() -> None:
    group = only_group(tree_of(("$share/g/a", "one"), ("$share/g/a", "two")), "a")
    assert [each.subscriber for _ in range(4) if (each := group.choose(nobody))] == ["one", "two", "one", "two"]


def test_each_group_and_each_ordinary_subscription_gets_a_copy() -> None:
    tree = tree_of(("$share/g/a/+", "one"), ("$share/h/a/+", "one"), ("$share/g/a/#", "two"), ("a/b", "one"))
    assert [match.subscriber for match in tree.match("a/b")] == ["one"]
    found = {group.shared_filter for group in tree.match_shared("a/b")}
    assert found == {"$share/g/a/+", "$share/h/a/+", "$share/g/a/#"}
    assert {group.shared_filter for group in tree.match_shared("a")} == {"$share/g/a/#"}
    assert tree.match("a") == ()


def test_v5_mqtt_4_7_2_1_shared_wildcards_do_not_match_hidden_topics() -> None:
    tree = tree_of(("$share/g/#", "one"), ("$share/g/+/x", "two"))
    assert tree.match_shared("$SYS/x") == ()


def test_a_member_is_chosen_with_its_own_options() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    options = SubscriptionOptions(qos=0, retain_as_published=True, subscription_identifier=7)
    tree.subscribe("$share/g/a", "one", QOS_1)
    assert tree.subscribe("$share/g/a", "two", QOS_1)
    assert not tree.subscribe("$share/g/a", "one", options)
    chosen = only_group(tree, "a").choose(everybody)
    assert chosen is not None
    assert (chosen.subscriber, chosen.qos, chosen.retain_as_published) == ("one", 0, True)
    assert chosen.subscription_identifiers == (7,)


def test_a_group_ends_with_its_last_member() -> None:
    tree = tree_of(("$share/g/a/b", "one"), ("$share/g/a/b", "two"), ("a", "one"))
    assert (tree.count, tree.group_count) == (3, 1)
    assert tree.unsubscribe("$share/g/a/b", "one")
    assert not tree.unsubscribe("$share/g/a/b", "one")
    assert not tree.unsubscribe("$share/other/a/b", "two")
    assert not tree.unsubscribe("a/b", "two")
    assert turns(only_group(tree, "a/b"), 2) == ["two", "two"]
    assert tree.unsubscribe("$share/g/a/b", "two")
    assert tree.match_shared("a/b") == ()
    assert tree.shared_group("$share/g/a/b") is None
    assert (tree.count, tree.group_count) == (1, 0)
    assert not tree._root.children["a"].children


def test_a_member_that_joins_is_seen_at_once() -> None:
    tree = tree_of(("$share/g/a", "one"))
    group = only_group(tree, "a")
    tree.subscribe("$share/g/a", "two", QOS_1)
    assert only_group(tree, "a") is group
    assert turns(group, 2) == ["one", "two"]


@pytest.mark.parametrize(("leaver", "expected"), [("a", "cdbcd"), ("b", "cdacd"), ("c", "dabda"), ("d", "cabca")])
def test_whose_turn_it_is_survives_a_leaver(leaver: str, expected: str) -> None:
    tree = tree_of(*[("$share/g/t", name) for name in "abcd"])
    group = only_group(tree, "t")
    assert turns(group, 2) == ["a", "b"]
    tree.unsubscribe("$share/g/t", leaver)
    assert "".join(turns(group, 5)) == expected


def test_a_group_is_found_by_its_filter_for_another_try() -> None:
    tree = tree_of(("$share/g/a/+", "one"), ("$share/g/a/+", "two"))
    tree.unsubscribe("$share/g/a/+", "one")
    group = tree.shared_group("$share/g/a/+")
    assert group is not None
    assert turns(group, 1) == ["two"]
    assert tree.shared_group("$share/g/a") is None
    assert tree.shared_group("a/+") is None


def test_a_group_without_members_chooses_nobody() -> None:
    group: SharedGroup[str] = SharedGroup("g", "a")
    assert group.choose(everybody) is None


@pytest.mark.parametrize(
    ("qos", "is_sent", "expected"), [(2, True, False), (2, False, True), (1, True, True), (1, False, True)]
)
def test_qos_2_that_was_sent_goes_to_nobody_else(qos: int, is_sent: bool, expected: bool) -> None:
    assert may_go_to_another(qos, is_sent=is_sent) is expected


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde")), max_size=30), st.integers(1, 20))
def test_nobody_is_chosen_twice_before_everybody_was_chosen_once(changes: list[tuple[bool, str]], rounds: int) -> None:
    tree = tree_of(("$share/g/t", "always"))
    group = only_group(tree, "t")
    for is_joining, subscriber in changes:
        if is_joining:
            tree.subscribe("$share/g/t", subscriber, QOS_1)
        else:
            tree.unsubscribe("$share/g/t", subscriber)
        turns(group, 1)
    members = {member.subscriber for member in group.members}
    counted = Counter(turns(group, rounds * len(members)))
    assert counted == dict.fromkeys(members, rounds)
