"""Topic aliases: numbers that stand for topic names on one network connection, each way on its own (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.wire.errors import ProtocolViolationError, WireError
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.wire.publish import Publish

SHORTEST_NAME = 5
"""A name of fewer characters is not worth an alias, which takes three bytes, or four with a longer Property Length."""


class IncomingTopicAliases:
    """The aliases that the client defines."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def resolve(self, packet: Publish) -> None:
        """Take the alias out of a PUBLISH, its topic name in if it has none. Raises WireError."""
        alias = packet.properties.pop("topic_alias", None)
        if alias is None:
            return
        if alias > TOPIC_ALIAS_MAXIMUM:
            raise WireError("a topic alias above the maximum [v5 MQTT-3.3.2-9]", ReasonCode.TOPIC_ALIAS_INVALID)
        if packet.topic_name:
            self._names[alias] = packet.topic_name
        elif alias in self._names:
            packet.topic_name = self._names[alias]
        else:
            raise ProtocolViolationError("a topic alias that was never set [v5 §3.3.2.3.4]")


class TopicAlias(NamedTuple):
    """An alias to send a message with; where `is_defined`, the client knows it and the topic name is left out."""

    number: int
    is_defined: bool


class OutgoingTopicAliases:
    """The aliases that the server defines: of the topic names sent most recently.

    While there are free ones, a name gets one with its first message; then with its second, in the place of another.

    At most `client_maximum` [v5 MQTT-3.1.2-26], and no more than a client may define here.
    """

    __slots__ = ("_maximum", "_numbers", "_sent_once")

    def __init__(self, client_maximum: int) -> None:
        self._maximum = min(client_maximum, TOPIC_ALIAS_MAXIMUM)
        self._numbers: OrderedDict[str, int] = OrderedDict()  # the name sent last is last
        self._sent_once: set[str] = set()

    def of(self, topic_name: str) -> TopicAlias | None:
        """Return the alias to send a message with, None for none. One that is not defined: `define` it when it is sent."""
        number = self._numbers.get(topic_name)
        if number is not None:
            self._numbers.move_to_end(topic_name)
            return TopicAlias(number, True)
        if len(topic_name) < SHORTEST_NAME:
            return None
        if len(self._numbers) < self._maximum or topic_name in self._sent_once:
            return TopicAlias(self._next_number(), False)
        self._note(topic_name)
        return None

    def define(self, topic_name: str) -> None:
        """Note that a packet with this name and the alias that `of` gave it is on its way."""
        number = self._next_number()
        if len(self._numbers) == self._maximum:
            self._numbers.popitem(last=False)
        self._numbers[topic_name] = number
        self._sent_once.discard(topic_name)

    def _next_number(self) -> int:
        if len(self._numbers) < self._maximum:
            return len(self._numbers) + 1
        return next(iter(self._numbers.values()))

    def _note(self, topic_name: str) -> None:
        if len(self._sent_once) >= self._maximum:
            self._sent_once.clear()
        self._sent_once.add(topic_name)
