"""Which topic names get an alias towards a client, and when (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.protocol.topic_aliases import OutgoingTopicAliases, TopicAlias


def sent(aliases: OutgoingTopicAliases, topic_name: str) -> TopicAlias | None:
    """Send a message that is not too large for the client."""
    alias = aliases.of(topic_name)
    if alias is not None and not alias.is_defined:
        aliases.define(topic_name)
    return alias


def test_the_first_message_defines_and_the_second_uses() -> None:
    aliases = OutgoingTopicAliases(10)
    assert [sent(aliases, "plant/1") for _ in range(2)] == [TopicAlias(1, False), TopicAlias(1, True)]
    assert [sent(aliases, "plant/2") for _ in range(2)] == [TopicAlias(2, False), TopicAlias(2, True)]
    assert sent(aliases, "plant/1") == TopicAlias(1, True)


def test_what_was_not_sent_has_defined_nothing() -> None:
    aliases = OutgoingTopicAliases(10)
    assert aliases.of("plant/1") == TopicAlias(1, False)
    assert aliases.of("plant/1") == TopicAlias(1, False)


def test_the_name_sent_longest_ago_makes_room() -> None:
    aliases = OutgoingTopicAliases(2)
    for topic_name in ("plant/1", "plant/2"):
        sent(aliases, topic_name)
        sent(aliases, topic_name)
    sent(aliases, "plant/1")
    sent(aliases, "plant/3")
    assert sent(aliases, "plant/3") == TopicAlias(2, False)
    assert sent(aliases, "plant/1") == TopicAlias(1, True)
    assert sent(aliases, "plant/2") is None


def test_names_that_never_come_back_cost_nothing_and_are_not_kept() -> None:
    aliases = OutgoingTopicAliases(65_535)
    for number in range(TOPIC_ALIAS_MAXIMUM):
        sent(aliases, f"plant/{number}")
    assert {sent(aliases, f"once/{number}") for number in range(1000)} == {None}
    assert len(aliases._sent_once) <= TOPIC_ALIAS_MAXIMUM


def test_mqtt_3_1_2_26_numbers_stay_within_both_maxima() -> None:
    for maximum in (1, 7, 65_535):
        aliases = OutgoingTopicAliases(maximum)
        numbers = {alias.number for name in range(200) for _ in range(3) if (alias := sent(aliases, f"plant/{name}"))}
        assert numbers == set(range(1, min(maximum, TOPIC_ALIAS_MAXIMUM) + 1))


def test_short_names_are_sent_as_they_are() -> None:
    aliases = OutgoingTopicAliases(10)
    assert [sent(aliases, "a/bc") for _ in range(3)] == [None, None, None]


def test_a_long_name_is_sent_as_it_is() -> None:
    aliases = OutgoingTopicAliases(10)
    assert [sent(aliases, "plant/" + "x" * 1000) for _ in range(3)] == [None, None, None]
