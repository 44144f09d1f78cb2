"""Topic aliases: numbers that stand for topic names on one network connection, each way on its own (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.wire.errors import ProtocolViolationError, QuotaExceededError, WireError
from broker.wire.reason_codes import ReasonCode

if TYPE_CHECKING:
    from broker.accounts import Holder
    from broker.wire.publish import Publish

ENTRY_BYTES = 100  # of a name, besides its string
LONGEST_BYTES = 400  # as an object: a longer name is sent as it is
OUTGOING_BYTES = 2 * TOPIC_ALIAS_MAXIMUM * (LONGEST_BYTES + ENTRY_BYTES)
"""What the names take that the server may define aliases of for one client."""

SHORTEST_NAME = 5
"""A name of fewer characters is not worth an alias, which takes three bytes, or four with a longer Property Length."""


class IncomingTopicAliases:
    """The aliases that the client defines. `names` is charged with their topic names."""

    __slots__ = ("_by_number", "_names")

    def __init__(self, names: Holder) -> None:
        self._names = names
        self._by_number: dict[int, str] = {}

    def resolve(self, packet: Publish) -> None:
        """Take the alias out of a PUBLISH, its topic name in if it has none. Raises WireError."""
        alias = packet.properties.pop("topic_alias", None)
        if alias is None:
            return
        if alias > TOPIC_ALIAS_MAXIMUM:
            raise WireError("a topic alias above the maximum [v5 MQTT-3.3.2-9]", ReasonCode.TOPIC_ALIAS_INVALID)
        topic_name = self._by_number.get(alias)
        if packet.topic_name:
            if packet.topic_name != topic_name:
                self._define(alias, packet.topic_name)
        elif topic_name is not None:
            packet.topic_name = topic_name
        else:
            raise ProtocolViolationError("a topic alias that was never set [v5 §3.3.2.3.4]")

    def _define(self, alias: int, topic_name: str) -> None:
        earlier = self._by_number.pop(alias, None)
        if earlier is not None:
            self._names.refund(_size_of(earlier))
        if not self._names.charge(_size_of(topic_name)):
            raise QuotaExceededError("more names than the server keeps for its clients")
        self._by_number[alias] = topic_name


def _size_of(topic_name: str) -> int:
    return sys.getsizeof(topic_name) + ENTRY_BYTES


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
        if len(topic_name) < SHORTEST_NAME or sys.getsizeof(topic_name) > LONGEST_BYTES:
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
