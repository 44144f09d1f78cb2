"""Who is subscribed to what: a tree of topic levels (MQTT 5.0 §4.7).

    subscribe(a/+/c)  subscribe(a/#)          root
                                               └─ a
                                                  ├─ +
                                                  │  └─ c   {subscriber: subscription}
                                                  └─ #      {subscriber: subscription}

A shared subscription `$share/g/a/+` is a group `g` at the node of `a/+`: see `shared_subscription`.

Answers for topic names are remembered until the tree changes: the same few topics are matched over and over. Ordinary
and shared ones apart, so that who has nothing shared pays nothing for it. They have a bound in bytes; the subscribers of
one filter are kept once, with the filter, and an answer refers to them.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from broker.accounts import BoundedCache
from broker.routing.shared_subscription import SHARE_PREFIX, SharedGroup, parse_shared

S = TypeVar("S", bound=Hashable)

CACHE_BYTES = 8 * 1024 * 1024
SHARED_PART = 4  # of the bytes for answers, one in so many is for those about groups
LARGEST_PART = 8  # no answer takes more than one in so many

LEVEL_BYTES, SUBSCRIPTION_BYTES, GROUP_BYTES = 420, 640, 1_100
"""What a level, a subscription and a member of a group take besides their strings (CPython 3.11 to 3.14)."""
STRING_BYTES = 80
MATCH_BYTES = 160
ENTRY_BYTES = 200


def subscription_bytes(topic_filter: str) -> int:
    """Return an upper bound of what one subscription takes.

    That is its place in the tree with all levels, its options, and its entries in the session's and the node's dictionaries.
    """
    string_bytes = sys.getsizeof(topic_filter)
    levels = topic_filter.count("/") + 1
    size_bytes = SUBSCRIPTION_BYTES + 2 * string_bytes + levels * (LEVEL_BYTES + STRING_BYTES)
    if topic_filter.startswith(SHARE_PREFIX):
        size_bytes += GROUP_BYTES + string_bytes
    return size_bytes


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
    """One level. What most levels do not have is None: a filter may have many levels and one subscriber."""

    __slots__ = ("_matches", "children", "groups", "subscriptions")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] | None = None
        self.subscriptions: dict[S, Match[S]] | None = None
        self.groups: dict[str, SharedGroup[S]] | None = None
        self._matches: tuple[Match[S], ...] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.subscriptions or self.groups)

    @property
    def matches(self) -> tuple[Match[S], ...]:
        """Its subscribers; the same object until they change."""
        if self._matches is None:
            self._matches = tuple(self.subscriptions.values()) if self.subscriptions else ()
        return self._matches

    def child(self, level: str) -> _Node[S]:
        """Return the node below, a new one where there is none."""
        if self.children is None:
            self.children = {}
        node = self.children.get(level)
        if node is None:
            node = self.children[level] = _Node()
        return node

    def add(self, match: Match[S]) -> bool:
        """Add or replace a subscriber; return whether it is new."""
        if self.subscriptions is None:
            self.subscriptions = {}
        is_new = match.subscriber not in self.subscriptions
        self.subscriptions[match.subscriber] = match
        self._matches = None
        return is_new

    def remove(self, subscriber: S) -> bool:
        """Take a subscriber away; return whether it was one."""
        if not self.subscriptions or self.subscriptions.pop(subscriber, None) is None:
            return False
        self._matches = None
        return True

    def group(self, group: str) -> SharedGroup[S] | None:
        """Return a group."""
        return self.groups.get(group) if self.groups else None


class SubscriptionTree(Generic[S]):
    """Subscriptions of any number of subscribers. Filters have to be valid (`topic_filter.is_valid_topic_filter`).

    `cache_bytes`: what remembered answers may take.
    """

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._root: _Node[S] = _Node()
        shared_bytes = cache_bytes // SHARED_PART
        answer_bytes = cache_bytes - shared_bytes
        self._answers: BoundedCache[str, tuple[Match[S], ...]] = BoundedCache(
            answer_bytes, answer_bytes // LARGEST_PART
        )
        self._answer_of = self._answers.entries.get
        self._shared_answers: BoundedCache[str, tuple[SharedGroup[S], ...]] = BoundedCache(shared_bytes)
        self.count = 0
        self.widest = 0
        """The most subscribers that one topic filter or topic name has had."""
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
            node = node.child(level)
        match = _match(subscriber, options)
        if shared is None:
            is_new = node.add(match)
            self.widest = max(self.widest, len(node.subscriptions or ()))
            self._answers.clear()
        else:
            group = node.group(shared.group)
            if group is None:
                group = SharedGroup(shared.group, shared.topic_filter)
                if node.groups is None:
                    node.groups = {}
                node.groups[shared.group] = group
                self._shared_answers.clear()
                self.group_count += 1
            is_new = group.join(match, places)
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
            if not node.remove(subscriber):
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
        return path[-1][0].group(shared.group) if shared and path else None

    def _leave(self, node: _Node[S], name: str, subscriber: S) -> bool:
        group = node.group(name)
        if group is None or not group.leave(subscriber):
            return False
        if not group.members and node.groups:
            del node.groups[name]
            self.group_count -= 1
            self._shared_answers.clear()
        return True

    def _path(self, topic_filter: str) -> list[tuple[_Node[S], str]]:
        path = [(self._root, "")]
        for level in topic_filter.split("/"):
            children = path[-1][0].children
            node = children.get(level) if children else None
            if node is None:
                return []
            path.append((node, level))
        return path

    # --- matching

    def match(self, topic_name: str) -> tuple[Match[S], ...]:
        """Return each subscriber of a topic name once; shared subscriptions are `match_shared`'s."""
        answer = self._answer_of(topic_name)
        if answer is None:
            nodes = [node for node in self._nodes(topic_name) if node.subscriptions]
            size_bytes = sys.getsizeof(topic_name) + ENTRY_BYTES
            if len(nodes) == 1:
                answer = nodes[0].matches
            else:
                answer, own_bytes = _join(nodes)
                size_bytes += own_bytes
                self.widest = max(self.widest, len(answer))
            self._answers.put(topic_name, answer, size_bytes)
        return answer

    def match_shared(self, topic_name: str) -> tuple[SharedGroup[S], ...]:
        """Return each group that shares a matching filter: one member of each gets the message (`SharedGroup.choose`)."""
        answer = self._shared_answers.entries.get(topic_name)
        if answer is None:
            nodes = self._nodes(topic_name)
            answer = tuple(group for node in nodes if node.groups for group in node.groups.values())
            self._shared_answers.put(
                topic_name, answer, sys.getsizeof(topic_name) + sys.getsizeof(answer) + ENTRY_BYTES
            )
        return answer

    def _nodes(self, topic_name: str) -> list[_Node[S]]:
        found: list[_Node[S]] = []
        frontier = [self._root]
        for depth, level in enumerate(topic_name.split("/")):
            is_hidden = depth == 0 and level.startswith("$")  # [v5 MQTT-4.7.2-1]
            wanted = (level,) if is_hidden else (level, "+")
            below: list[_Node[S]] = []
            for node in frontier:
                if children := node.children:
                    if not is_hidden and "#" in children:
                        found.append(children["#"])
                    below += [children[name] for name in wanted if name in children]
            if not below:
                return found
            frontier = below
        return found + frontier + [node.children["#"] for node in frontier if node.children and "#" in node.children]


def _prune(path: list[tuple[_Node[S], str]]) -> None:
    for (node, level), (parent, _) in zip(path[:0:-1], path[-2::-1], strict=True):
        if not node.is_empty or parent.children is None:
            break
        del parent.children[level]
        if not parent.children:
            parent.children = None


def _join(nodes: list[_Node[S]]) -> tuple[tuple[Match[S], ...], int]:
    """Return the subscribers of several filters, each once, and how many bytes that takes of its own."""
    found: dict[S, Match[S]] = {}
    combined = 0
    for node in nodes:
        for match in node.matches:
            earlier = found.get(match.subscriber)
            combined += earlier is not None
            found[match.subscriber] = match if earlier is None else _combine(earlier, match)
    answer = tuple(found.values())
    identifiers = sum(len(each.subscription_identifiers) for each in answer) if combined else 0
    return answer, sys.getsizeof(answer) + combined * MATCH_BYTES + identifiers * 8


def _match(subscriber: S, options: SubscriptionOptions) -> Match[S]:
    identifier = options.subscription_identifier
    return Match(
        subscriber,
        options.qos,
        options.is_no_local,
        options.retain_as_published,
        (identifier,) if identifier else (),
    )


def _combine(one: Match[S], other: Match[S]) -> Match[S]:
    return Match(
        one.subscriber,
        max(one.qos, other.qos),
        one.is_no_local and other.is_no_local,
        one.retain_as_published or other.retain_as_published,
        one.subscription_identifiers + other.subscription_identifiers,
    )
