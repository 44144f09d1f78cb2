"""Rules for topic names and topic filters (MQTT 5.0 §4.7, MQTT 3.1.1 §4.7).

Valid filters:   #   +   +/+   /   sport/#   sport/+/player1   +/tennis/#   /finance   $SYS/#
                 $share/consumers/sport/#
Invalid filters: (empty)   sport#   sport/#/ranking   sport+   +sport   a/+b
                 $share/consumers   $share//sport   $share/con+/sport
"""

from __future__ import annotations

from itertools import zip_longest

from broker.routing.shared_subscription import SHARE_PREFIX, parse_shared


def is_valid_topic_filter(topic_filter: str, max_levels: int) -> bool:
    """Tell whether a client may subscribe to it: wildcards on whole levels, `#` last, at most `max_levels` levels.

    Of a shared filter it is the part behind the group that has to obey this.
    """
    if topic_filter.startswith(SHARE_PREFIX):
        shared = parse_shared(topic_filter)
        return (
            shared is not None and "\0" not in shared.group and is_valid_topic_filter(shared.topic_filter, max_levels)
        )
    if not topic_filter or "\0" in topic_filter or topic_filter.count("/") >= max_levels:
        return False
    if "#" not in topic_filter and "+" not in topic_filter:
        return True
    levels = topic_filter.split("/")
    if any(("#" in level or "+" in level) and len(level) > 1 for level in levels):
        return False  # [v5 MQTT-4.7.1-1], [v5 MQTT-4.7.1-2]; [v3.1.1 MQTT-4.7.1-2], [v3.1.1 MQTT-4.7.1-3]
    return "#" not in levels[:-1]  # [v5 MQTT-4.7.1-1], [v3.1.1 MQTT-4.7.1-2]


def is_valid_topic_name(topic_name: str, max_levels: int) -> bool:
    """Tell whether a message may be published to it: no wildcard [v5 MQTT-3.3.2-2], at most `max_levels` levels."""
    return (
        bool(topic_name)
        and "#" not in topic_name
        and "+" not in topic_name
        and "\0" not in topic_name
        and topic_name.count("/") < max_levels
    )


def is_wildcard(topic_filter: str) -> bool:
    """Tell whether a valid filter can match more than one topic name."""
    return "#" in topic_filter or "+" in topic_filter


def literal_prefix(topic_filter: str) -> str:
    """Return what every topic name that the filter matches begins with.

    `sport/tennis/#` also matches its parent `sport/tennis` [v5 §4.7.1.2], so the prefix ends before that `/`.
    """
    prefix: list[str] = []
    for level in topic_filter.split("/"):
        if level == "#":
            return "/".join(prefix)
        if level == "+":
            return "".join(f"{level}/" for level in prefix)
        prefix.append(level)
    return "/".join(prefix)


def matches(topic_filter: str, topic_name: str) -> bool:
    """Tell whether a valid filter matches a topic name, one pair at a time; `SubscriptionTree` does it for many."""
    if topic_name.startswith("$") and topic_filter[:1] in ("#", "+"):
        return False  # [v5 MQTT-4.7.2-1]
    for wanted, level in zip_longest(topic_filter.split("/"), topic_name.split("/")):
        if wanted == "#":
            return True
        if wanted is None or level is None or wanted not in ("+", level):
            return False
    return True
