"""Who is subscribed to what: a tree of topic levels (MQTT 5.0 §4.7).

    subscribe(a/+/c)  subscribe(a/#)          root
                                               └─ a
                                                  ├─ +
                                                  │  └─ c   {subscriber: subscription}
                                                  └─ #      {subscriber: subscription}

Answers for topic names are remembered until the tree changes: the same few topics are matched over and over.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

CACHED_TOPICS = 20_000


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """What a subscriber asked for with one filter (MQTT 5.0 §3.8.3.1); `subscription_identifier` 0: none."""

    qos: int = 0
    is_no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    subscription_identifier: int = 0


@dataclass(frozen=True, slots=True)
class Match(Generic[S]):
    """One subscriber of a topic name, all its matching subscriptions taken together.

    `qos` is the highest of them [v5 MQTT-3.3.4-2]; `is_no_local` only if all of them say so.
    """

    subscriber: S
    qos: int
    is_no_local: bool
    retain_as_published: bool
    subscription_identifiers: tuple[int, ...]


class _Node(Generic[S]):
    __slots__ = ("children", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = {}
        self.subscriptions: dict[S, SubscriptionOptions] = {}


class SubscriptionTree(Generic[S]):
    """Subscriptions of any number of subscribers. Filters have to be valid (`topic_filter.is_valid_topic_filter`)."""

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._answers: dict[str, tuple[Match[S], ...]] = {}
        self.count = 0

    def subscribe(self, topic_filter: str, subscriber: S, options: SubscriptionOptions) -> bool:
        """Add a subscription or replace its options [v5 MQTT-3.8.4-3]; return whether it is new."""
        node = self._root
        for level in topic_filter.split("/"):
            node = node.children.setdefault(level, _Node())
        is_new = subscriber not in node.subscriptions
        node.subscriptions[subscriber] = options
        self.count += is_new
        self._answers.clear()
        return is_new

    def unsubscribe(self, topic_filter: str, subscriber: S) -> bool:
        """Take a subscription away; return whether there was one. Nodes that hold nothing any more go with it."""
        path = [(self._root, "")]
        for level in topic_filter.split("/"):
            node = path[-1][0].children.get(level)
            if node is None:
                return False
            path.append((node, level))
        if path[-1][0].subscriptions.pop(subscriber, None) is None:
            return False
        for (node, level), (parent, _) in zip(path[:0:-1], path[-2::-1], strict=True):
            if node.children or node.subscriptions:
                break
            del parent.children[level]
        self.count -= 1
        self._answers.clear()
        return True

    def match(self, topic_name: str) -> tuple[Match[S], ...]:
        """Return each subscriber of a topic name once."""
        answer = self._answers.get(topic_name)
        if answer is None:
            if len(self._answers) >= CACHED_TOPICS:
                self._answers.clear()
            answer = self._answers[topic_name] = self._find(topic_name)
        return answer

    def _find(self, topic_name: str) -> tuple[Match[S], ...]:
        found: dict[S, list[SubscriptionOptions]] = {}
        levels = topic_name.split("/")
        frontier = [self._root]
        for depth, level in enumerate(levels):
            is_hidden = depth == 0 and level.startswith("$")  # [v5 MQTT-4.7.2-1]
            if not is_hidden:
                _collect(found, [node.children["#"] for node in frontier if "#" in node.children])
            wanted = (level,) if is_hidden else (level, "+")
            frontier = [node.children[name] for node in frontier for name in wanted if name in node.children]
        _collect(found, frontier)
        _collect(found, [node.children["#"] for node in frontier if "#" in node.children])
        return tuple(_combine(subscriber, options) for subscriber, options in found.items())


def _collect(found: dict[S, list[SubscriptionOptions]], nodes: list[_Node[S]]) -> None:
    for node in nodes:
        for subscriber, options in node.subscriptions.items():
            found.setdefault(subscriber, []).append(options)


def _combine(subscriber: S, options: list[SubscriptionOptions]) -> Match[S]:
    return Match(
        subscriber,
        max(each.qos for each in options),
        all(each.is_no_local for each in options),
        any(each.retain_as_published for each in options),
        tuple(each.subscription_identifier for each in options if each.subscription_identifier),
    )
