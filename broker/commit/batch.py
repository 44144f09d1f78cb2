"""A batch: messages and changes of sessions that reach the store together, and who waits for the answer. Pure."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from store.cluster import DueWill
from store.commit_log import Enqueue
from store.session_store import sent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from broker.routing.subscription_tree import Match
    from store.commit_log import Change, ClientChange, Operation
    from store.model import Message
    from store.session_store import QueueEntry

MESSAGE_OVERHEAD_BYTES = 64


class Publisher(Protocol):
    """Who is told that a message is stored."""

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Answer the PUBLISH with this packet identifier: PUBACK for QoS 1, PUBREC for QoS 2."""


class Queue(Protocol):
    """A session whose queue is in the store."""

    client_id: str

    def enqueued(self, sequence_number: int | None, entry: QueueEntry, entry_bytes: int) -> None:
        """Take note of what became of an entry; see `commit_log.Committed`."""


class SharedDelivery(NamedTuple):
    """The member of a group that is to have a message once it is stored."""

    shared_filter: str
    member: Match[Any]


class HandedOn(NamedTuple):
    """A stored message that was to go to one member of a group and goes to another; `is_near`: to one here, if any."""

    message: Message
    shared_filter: str
    is_near: bool


class Batch:
    """Messages in the order they arrived, the acknowledgements they owe and the retained messages they change.

    `pubacks` and `pubrecs`: whom to tell; for a PUBACK, of which topic. `operations` are carried out behind the messages,
    in order; `then` is called, in order, once all is stored. `sent`: up to which entry each session has been sent.
    `handed_on` leaves with the batch but is stored already.
    `owned`: clients that this node serves from somewhere in the batch on: how many messages and operations were before.
    The rest is found when the batch leaves (`clear_routing`, then anew): `routed` and `routed_entries` are what its
    messages put into queues and inboxes; `shared`: by a message's index, who gets it of those who share it. Indices behind
    the last message's are those of what is handed on.
    """

    __slots__ = (
        "enqueued",
        "handed_on",
        "messages",
        "operations",
        "owned",
        "pubacks",
        "pubrecs",
        "retained",
        "routed",
        "routed_bytes",
        "routed_entries",
        "sent",
        "shared",
        "size_bytes",
        "then",
    )

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.pubacks: list[tuple[Publisher, int, str]] = []
        self.pubrecs: list[tuple[Publisher, int]] = []
        self.retained: dict[str, Message | None] = {}
        self.operations: list[Change] = []
        self.enqueued: list[tuple[Queue, QueueEntry, int]] = []
        self.handed_on: list[HandedOn] = []
        self.owned: dict[str, tuple[int, int]] = {}
        self.sent: dict[str, int] = {}
        self.then: list[Callable[[], None]] = []
        self.size_bytes = 0
        self.clear_routing()

    def clear_routing(self) -> None:
        """Forget where the messages go: it has to be found anew."""
        self.routed: list[Change] = []
        self.routed_entries: list[tuple[Queue, QueueEntry, int]] = []
        self.routed_bytes = 0
        self.shared: dict[int, list[SharedDelivery]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.messages or self.operations or self.handed_on or self.sent or self.then)

    def enqueue(self, queue: Queue, entry: QueueEntry, encoded: bytes) -> None:
        """Put an entry at the end of a session's queue."""
        self.operations.append(Enqueue(queue.client_id, encoded, entry.waits_since_ms))
        self.enqueued.append((queue, entry, len(encoded)))
        self.size_bytes += len(encoded) + MESSAGE_OVERHEAD_BYTES

    def hand_on(self, handed_on: HandedOn) -> None:
        """Give a message to a member of a group, whichever it is when the batch leaves."""
        self.handed_on.append(handed_on)
        self.size_bytes += _size_of(handed_on.message)

    def message_at(self, index: int) -> Message:
        """Return one of the messages, or of those that are handed on."""
        behind = index - len(self.messages)
        return self.messages[index] if behind < 0 else self.handed_on[behind].message

    def route_to_queue(self, queue: Queue, entry: QueueEntry, encoded: bytes) -> None:
        """Put a copy of one of the messages at the end of a session's queue."""
        self.routed.append(Enqueue(queue.client_id, encoded, entry.waits_since_ms))
        self.routed_entries.append((queue, entry, len(encoded)))
        self.routed_bytes += len(encoded) + MESSAGE_OVERHEAD_BYTES

    def route_to_node(self, delivery: Operation, size_bytes: int) -> None:
        """Put copies of some of the messages into another node's inbox."""
        self.routed.append(delivery)
        self.routed_bytes += size_bytes

    @property
    def changes(self) -> list[Change]:
        """All that is to be done besides storing the messages, in order: what was sent first, a session may end behind it."""
        return [*(sent(client_id, number) for client_id, number in self.sent.items()), *self.operations, *self.routed]

    def own(self, client_id: str, change: ClientChange) -> None:
        """Serve a client from here on: what comes behind is not affected by what other nodes did before."""
        self.owned[client_id] = (len(self.messages), len(self.operations))
        self.operations.append(change)
        self.size_bytes += MESSAGE_OVERHEAD_BYTES

    def leave_out(self, client_ids: Collection[str]) -> None:
        """Take out what clients sent and what was noted of their sessions, before `own`: another node served them then.

        Who waits to be told still is: their connections are closed.
        """
        end = (len(self.messages), len(self.operations))
        until = {client_id: self.owned.get(client_id, end) for client_id in client_ids}
        messages = [
            index >= until.get(each.client_id, (0, 0))[0] or isinstance(each, DueWill)
            for index, each in enumerate(self.messages)
        ]
        operations = [
            isinstance(each, Enqueue) or index >= until.get(each.client_id, (0, 0))[1]
            for index, each in enumerate(self.operations)
        ]
        self.owned = {
            client_id: (sum(messages[:first_message]), sum(operations[:first_operation]))
            for client_id, (first_message, first_operation) in self.owned.items()
        }
        self.operations = list(compress(self.operations, operations))
        self.size_bytes = MESSAGE_OVERHEAD_BYTES * len(self.operations)
        self.size_bytes += sum(_size_of(each.message) for each in self.handed_on)
        kept, self.messages, self.retained = list(compress(self.messages, messages)), [], {}
        for message in kept:
            self.add(message)
        for client_id in client_ids:
            self.sent.pop(client_id, None)

    def operate(self, operations: Iterable[Change], then: Callable[[], None] | None = None) -> None:
        """Change what the store keeps of a session; `then` is called once it is stored."""
        self.operations += operations
        self.size_bytes += MESSAGE_OVERHEAD_BYTES
        if then is not None:
            self.then.append(then)

    def add(self, message: Message) -> None:
        """Put a message behind the others."""
        self.messages.append(message)
        self.size_bytes += _size_of(message)
        if message.is_retain:
            # [v5 MQTT-3.3.1-5] the last one stays; [v5 MQTT-3.3.1-6] an empty payload clears.
            self.retained[message.topic_name] = message if message.payload else None

    def owe(self, publisher: Publisher, packet_id: int, message: Message) -> None:
        """Note that `publisher` is to be told once `message`, of QoS 1 or 2, is stored."""
        if message.qos == 1:
            self.pubacks.append((publisher, packet_id, message.topic_name))
        else:
            self.pubrecs.append((publisher, packet_id))


def _size_of(message: Message) -> int:
    return len(message.payload) + len(message.properties) + len(message.topic_name) + MESSAGE_OVERHEAD_BYTES
