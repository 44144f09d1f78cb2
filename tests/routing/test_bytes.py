"""What subscriptions take is known from above, what is remembered of topics is bounded, and changes cost what they name."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from broker.protocol.fast_publish import KnownTopics
from broker.routing.subscription_tree import SubscriptionOptions, SubscriptionTree, subscription_bytes

KIB = 1024
COUNT = 300
KINDS = {
    "short": lambda number: f"a/{number}",
    "usual": lambda number: f"devices/device-{number}/telemetry/+",
    "same": lambda _: "devices/+/telemetry",
    "longest": lambda number: f"{number}" + "x" * 60_000,
    "deepest": lambda number: "/".join([str(number), *"a" * 63]),
    "deep and wide": lambda number: "/".join(f"level-{number}-{depth}" for depth in range(64)),
    "Greek": lambda number: f"αβγ/{number}/" + "ω" * 50,
    "emoji": lambda number: f"{number}/" + "😀/" * 30 + "#",
    "empty levels": lambda number: f"{number}" + "/" * 63,
    "shared": lambda number: f"$share/group-{number}/devices/{number}/#",
    "one group": lambda _: "$share/group/devices/#",
    "groups": lambda number: f"$share/{number}/devices/#",
    "mixed": lambda number: "/".join(
        random.Random(number).choice(["a", "+", "sensor", "x" * 20, "é"]) for _ in range(number % 20 + 1)
    ),
}


class Subscriber:
    """As little as can stand in a tree."""

    __slots__ = ()


@pytest.mark.parametrize("kind", KINDS)
def test_no_subscription_takes_more_than_it_is_charged(kind: str) -> None:
    texts = [KINDS[kind](number) for number in range(COUNT)]
    subscribers = [Subscriber() for _ in range(COUNT)]
    sessions: list[dict[str, SubscriptionOptions]] = [{} for _ in range(COUNT)]
    wanted: dict[str, int] = {}
    tree: SubscriptionTree[Subscriber] = SubscriptionTree()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        charged = 0
        for text, subscriber, session in zip(texts, subscribers, sessions, strict=True):
            topic_filter = text[:1] + text[1:]  # an object of its own, as each packet brings one
            options = SubscriptionOptions(1, subscription_identifier=random.randrange(1000, 100_000_000))
            tree.subscribe(topic_filter, subscriber, options)
            session[topic_filter] = options
            wanted[topic_filter] = wanted.get(topic_filter, 0) + 1
            charged += subscription_bytes(topic_filter)
        if kind != "one group":
            tree.match(texts[0].replace("+", "x").replace("#", "x"))
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert took <= charged, f"{took / COUNT:.0f} bytes each, {charged / COUNT:.0f} charged"
    if kind in ("short", "usual", "longest"):
        assert charged < 4 * took, f"{took / COUNT:.0f} bytes each, {charged / COUNT:.0f} charged"


def test_answers_are_bounded_in_bytes() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree(256 * KIB)
    for number in range(500):
        tree.subscribe("#", number, SubscriptionOptions())
    tree.subscribe("a/+", 0, SubscriptionOptions())
    tree.subscribe("$share/g/#", 1, SubscriptionOptions())
    tracemalloc.start()
    try:
        tree.match("x")
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3000):
            assert len(tree.match(f"{number}/" + "x" * 1000)) == 500
            assert len(tree.match(f"a/{number}")) == 500
            tree.match(f"{number}" + "x" * 60_000)
            assert len(tree.match_shared(f"{number}/" + "x" * 1000)) == 1
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert took < 2 * 256 * KIB


def test_many_subscribers_of_one_filter_are_kept_once() -> None:
    """A broadcast's answer is remembered for each topic, and takes no more than the topic's name."""
    tree: SubscriptionTree[int] = SubscriptionTree(64 * KIB)
    for number in range(5000):
        tree.subscribe("news/#", number, SubscriptionOptions())
    first = tree.match("news/one")
    assert len(first) == 5000
    assert tree.match("news/two") is first
    assert tree.match("news/one") is first


def test_known_topics_are_bounded_in_bytes() -> None:
    tracemalloc.start()
    try:
        known_topics = KnownTopics(256 * KIB)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(300):
            known_topics.admit(f"{number}" + "x" * 60_000)
            known_topics.admit(f"{number}" + "ω" * 1000)
            for each in range(10):
                known_topics.admit(f"{number}/{each}")
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert took < 2 * 256 * KIB
    assert known_topics.entries


def test_a_topic_that_is_known_is_not_charged_again() -> None:
    known_topics = KnownTopics(256 * KIB)
    for _ in range(10_000):
        known_topics.admit("a")
    assert known_topics.used_bytes < KIB


def test_a_node_that_is_empty_again_keeps_nothing() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    topic_filter = "/".join("a" * 64)
    tree.subscribe(topic_filter, 1, SubscriptionOptions())
    tree.subscribe("a/b", 1, SubscriptionOptions())
    tree.unsubscribe(topic_filter, 1)
    (node,) = tree._root.children.values()
    assert list(node.children) == ["b"]


def test_changes_cost_what_the_filter_is_long() -> None:
    """Thousands of subscribers, groups and neighbours make one more subscription no slower."""

    def took(tree: SubscriptionTree[int], pairs: int) -> float:
        began = time.perf_counter()
        for number in range(pairs):
            tree.subscribe("a/b/c", number + 1_000_000, SubscriptionOptions())
            tree.unsubscribe("a/b/c", number + 1_000_000)
        return time.perf_counter() - began

    small: SubscriptionTree[int] = SubscriptionTree()
    large: SubscriptionTree[int] = SubscriptionTree()
    for number in range(20_000):
        large.subscribe("a/b/c", number, SubscriptionOptions())
        large.subscribe(f"a/{number}", number, SubscriptionOptions())
        large.subscribe(f"$share/{number}/a/b/c", number, SubscriptionOptions())
    assert took(large, 2000) < 20 * max(took(small, 2000), 0.001)
