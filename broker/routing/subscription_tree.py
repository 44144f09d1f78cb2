"""Who is subscribed to what: a tree of topic levels (MQTT 5.0 §4.7).

    subscribe(a/+/c)  subscribe(a/#)          root
                                               └─ a
                                                  ├─ +
                                                  │  └─ c   {subscriber: subscription}
                                                  └─ #      {subscriber: subscription}

A shared subscription `$share/g/a/+` is a group `g` at the node of `a/+`: see `shared_subscription`.

Answers for topic names are remembered until the tree changes: the same few topics are matched over and over. Ordinary
and shared ones apart, so that who has nothing shared pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from broker.routing.shared_subscription import SharedGroup, parse_shared

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
    __slots__ = ("children", "groups", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = {}
        self.subscriptions: dict[S, SubscriptionOptions] = {}
        self.groups: dict[str, SharedGroup[S]] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.subscriptions or self.groups)


class SubscriptionTree(Generic[S]):
    """Subscriptions of any number of subscribers. Filters have to be valid (`topic_filter.is_valid_topic_filter`)."""

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._answers: dict[str, tuple[Match[S], ...]] = {}
        self._shared_answers: dict[str, tuple[SharedGroup[S], ...]] = {}
        self.count = 0
        self.group_count = 0
        """How many groups share a filter: where this is 0, `match_shared` need not be called."""

    # --- subscribing

    def subscribe(self, topic_filter: str, subscriber: S, options: SubscriptionOptions, *, places: int = 1) -> bool:
        """Add a subscription, ordinary or shared, or replace its options [v5 MQTT-3.8.4-3]; return whether it is new.

        `places`: how many members of a group it stands for.
        """
        shared = parse_shared(topic_filter)
        node = self._root
        for level in (shared.topic_filter if shared else topic_filter).split("/"):
            node = node.children.setdefault(level, _Node())
        if shared is None:
            is_new = subscriber not in node.subscriptions
            node.subscriptions[subscriber] = options
            self._answers.clear()
        else:
            if shared.group not in node.groups:
                node.groups[shared.group] = SharedGroup(shared.group, shared.topic_filter)
                self._shared_answers.clear()
                self.group_count += 1
            is_new = node.groups[shared.group].join(_combine(subscriber, [options]), places)
        self.count += is_new
        return is_new

    def unsubscribe(self, topic_filter: str, subscriber: S) -> bool:
        """Take a subscription away; return whether there was one. Nodes that hold nothing any more go with it."""
        shared = parse_shared(topic_filter)
        path = self._path(shared.topic_filter if shared else topic_filter)
        if not path:
            return False
        node = path[-1][0]
        if shared is None:
            if node.subscriptions.pop(subscriber, None) is None:
                return False
            self._answers.clear()
        elif not self._leave(node, shared.group, subscriber):
            return False
        _prune(path)
        self.count -= 1
        return True

    def shared_group(self, topic_filter: str) -> SharedGroup[S] | None:
        """Return the group of a shared filter, `$share/` and all, while it has members."""
        shared = parse_shared(topic_filter)
        path = self._path(shared.topic_filter) if shared else []
        return path[-1][0].groups.get(shared.group) if shared and path else None

    def _leave(self, node: _Node[S], group: str, subscriber: S) -> bool:
        if group not in node.groups or not node.groups[group].leave(subscriber):
            return False
        if not node.groups[group].members:
            del node.groups[group]
            self.group_count -= 1
            self._shared_answers.clear()
        return True

    def _path(self, topic_filter: str) -> list[tuple[_Node[S], str]]:
        path = [(self._root, "")]
        for level in topic_filter.split("/"):
            node = path[-1][0].children.get(level)
            if node is None:
                return []
            path.append((node, level))
        return path

    # --- matching

    def match(self, topic_name: str) -> tuple[Match[S], ...]:
        """Return each subscriber of a topic name once; shared subscriptions are `match_shared`'s."""
        answer = self._answers.get(topic_name)
        if answer is None:
            if len(self._answers) >= CACHED_TOPICS:
                self._answers.clear()
            answer = self._answers[topic_name] = self._find(topic_name)
        return answer

    def match_shared(self, topic_name: str) -> tuple[SharedGroup[S], ...]:
        """Return each group that shares a matching filter: one member of each gets the message (`SharedGroup.choose`)."""
        answer = self._shared_answers.get(topic_name)
        if answer is None:
            if len(self._shared_answers) >= CACHED_TOPICS:
                self._shared_answers.clear()
            groups = (group for node in self._nodes(topic_name) for group in node.groups.values())
            answer = self._shared_answers[topic_name] = tuple(groups)
        return answer

    def _find(self, topic_name: str) -> tuple[Match[S], ...]:
        found: dict[S, list[SubscriptionOptions]] = {}
        for node in self._nodes(topic_name):
            for subscriber, options in node.subscriptions.items():
                found.setdefault(subscriber, []).append(options)
        return tuple(_combine(subscriber, options) for subscriber, options in found.items())

    def _nodes(self, topic_name: str) -> list[_Node[S]]:
        found: list[_Node[S]] = []
        frontier = [self._root]
        for depth, level in enumerate(topic_name.split("/")):
            is_hidden = depth == 0 and level.startswith("$")  # [v5 MQTT-4.7.2-1]
            if not is_hidden:
                found += [node.children["#"] for node in frontier if "#" in node.children]
            wanted = (level,) if is_hidden else (level, "+")
            frontier = [node.children[name] for node in frontier for name in wanted if name in node.children]
        return found + frontier + [node.children["#"] for node in frontier if "#" in node.children]


def _prune(path: list[tuple[_Node[S], str]]) -> None:
    for (node, level), (parent, _) in zip(path[:0:-1], path[-2::-1], strict=True):
        if not node.is_empty:
            break
        del parent.children[level]


def _combine(subscriber: S, options: list[SubscriptionOptions]) -> Match[S]:
    return Match(
        subscriber,
        max(each.qos for each in options),
        all(each.is_no_local for each in options),
        any(each.retain_as_published for each in options),
        tuple(each.subscription_identifier for each in options if each.subscription_identifier),
    )


def subscription_bytes(topic_filter: str) -> int:
    """Return what one subscription takes at most."""
    return 400 + 3 * len(topic_filter) + 360 * (1 + topic_filter.count("/"))
