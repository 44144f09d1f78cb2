"""A batch: messages and changes of sessions that reach the store together, and who waits for the answer. Pure."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import msgspec

from store.cluster import DueWill, WillMessage, make_will_due
from store.commit_log import Deliver, Enqueue, EnqueueRetained, Operation, RouteChange
from store.session_store import sent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from broker.routing.subscription_tree import Match
    from store.commit_log import Change, ClientChange
    from store.model import Message
    from store.session_store import QueueEntry

MESSAGE_OVERHEAD_BYTES = 256
"""What a message takes besides its bytes: itself, its strings' heads, its places in the batch (CPython 3.11)."""

CHANGE_BYTES = 200
"""The same for a change."""

RETAINED_BYTES = 300
"""What a retained message weighs more: the store has more to do with it."""

MOST_CHANGES = 4096
"""Changes of one commit: Redis executes them in some milliseconds."""


class Publisher(Protocol):
    """Who is told that a message is stored."""

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Answer the PUBLISH with this packet identifier: PUBACK for QoS 1, PUBREC for QoS 2."""


class Reader(Protocol):
    """A connection that is told when what it has brought is stored."""

    def stored(self, size_bytes: int) -> None:
        """So much of what it has brought is stored."""


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
    `handed_on` leaves with the batch but is stored already. `attached`: places of operations that belong to its messages; the
    others may leave before the messages do (`take_control`).
    `owned`: clients that this node serves from somewhere in the batch on: how many messages and operations were before.
    `readers`: which connections are told, and of how many bytes, once everything up to here is stored.
    The rest is found when the batch leaves (`clear_routing`, then anew): `routed` and `routed_entries` are what its
    messages put into queues and inboxes; `shared`: by a message's index, who gets it of those who share it. Indices behind
    the last message's are those of what is handed on.
    """

    __slots__ = (
        "attached",
        "enqueued",
        "handed_on",
        "messages",
        "operations",
        "owned",
        "pubacks",
        "pubrecs",
        "readers",
        "retained",
        "routed",
        "routed_bytes",
        "routed_entries",
        "sent",
        "shared",
        "size_bytes",
        "then",
        "wills",
    )

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.pubacks: list[tuple[Publisher, int, str]] = []
        self.pubrecs: list[tuple[Publisher, int]] = []
        self.retained: dict[str, Message | None] = {}
        self.operations: list[Change] = []
        self.attached: set[int] = set()
        self.enqueued: list[tuple[Queue, QueueEntry, int]] = []
        self.handed_on: list[HandedOn] = []
        self.owned: dict[str, tuple[int, int]] = {}
        self.sent: dict[str, int] = {}
        self.then: list[Callable[[], None]] = []
        self.readers: list[tuple[Reader, int]] = []
        self.wills: set[str] = set()  # clients whose will is published here
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

    def notify_readers(self) -> None:
        """Tell the connections; once."""
        readers, self.readers = self.readers, []
        for reader, size_bytes in readers:
            reader.stored(size_bytes)

    def enqueue(self, queue: Queue, entry: QueueEntry, encoded: bytes, retained_version: int | None = None) -> None:
        """Put an entry at the end of a session's queue: a retained message only if it is still the one retained."""
        client_id, since_ms, topic_name = queue.client_id, entry.waits_since_ms, entry.message.topic_name
        if retained_version is None:
            self.attach(Enqueue(client_id, encoded, since_ms))
        else:
            self.attach(EnqueueRetained(client_id, encoded, since_ms, topic_name, retained_version))
        self.enqueued.append((queue, entry, len(encoded)))

    def attach(self, change: Change) -> None:
        """Add a change that has to be stored with the messages."""
        self.attached.add(len(self.operations))
        self.operations.append(change)
        self.size_bytes += size_of_change(change)

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

    def route_to_node(self, delivery: Deliver, size_bytes: int) -> None:
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
        self.size_bytes += CHANGE_BYTES

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
            isinstance(each, Enqueue | EnqueueRetained) or index >= until.get(each.client_id, (0, 0))[1]
            for index, each in enumerate(self.operations)
        ]
        self.owned = {
            client_id: (sum(messages[:first_message]), sum(operations[:first_operation]))
            for client_id, (first_message, first_operation) in self.owned.items()
        }
        self._keep_operations(operations)
        self._keep_messages(messages)
        for client_id in client_ids:
            self.sent.pop(client_id, None)

    def discard(self, client_id: str) -> int:
        """Take out the messages of a client that has gone, wills excepted: nobody waits to be told. Returns how many."""
        kept = [each.client_id != client_id or isinstance(each, WillMessage) for each in self.messages]
        count = len(kept) - sum(kept)
        if count:
            attached = [
                index not in self.attached or not _is_received_by(client_id, each)
                for index, each in enumerate(self.operations)
            ]
            self._keep_operations(attached)
            self._keep_messages(kept)
            self.pubrecs = [each for each in self.pubrecs if getattr(each[0], "client_id", None) != client_id]
        return count

    def take_control(self) -> Batch:
        """Move all that does not belong to messages into a batch of its own.

        A will that waits for its client's next connection to be stored is made due: that connection would publish it as well.
        """
        control = Batch()
        kept: list[Change] = []
        own_at = {place: client_id for client_id, (_, place) in self.owned.items()}
        for index, change in enumerate(self.operations):
            if index in own_at:
                control.owned[own_at[index]] = (0, len(control.operations))
            if index not in self.attached:
                control.operate([change])
            elif self._is_before_own(index, change):
                changes, clear = self._make_will_due(change)
                control.operate(changes)
                kept.append(clear)
            else:
                kept.append(change)
        control.then, self.then = self.then, []
        control.sent, self.sent = self.sent, {}
        self.operations, self.owned, self.attached = kept, {}, set(range(len(kept)))
        self.wills = {each.client_id for each in kept if each.client_id and is_clear_will(each, each.client_id)}
        self.size_bytes = self._weigh()
        return control

    def _is_before_own(self, index: int, change: Change) -> bool:
        owned = self.owned.get(change.client_id) if isinstance(change, Operation) else None
        return owned is not None and index < owned[1] and is_clear_will(change, change.client_id)

    def _make_will_due(self, clear: Change) -> tuple[list[Change], Operation]:
        """Have a client's will published whoever serves the client; see `cluster.make_will_due`."""
        for index, message in enumerate(self.messages):
            if message.__class__ is WillMessage and message.client_id == clear.client_id:
                self.messages[index] = DueWill(*msgspec.structs.astuple(message))
                break
        return make_will_due(cast("Operation", clear), message)

    def join(self, other: Batch) -> None:
        """Put a batch without messages behind this one."""
        for client_id, (_, place) in other.owned.items():
            self.owned[client_id] = (len(self.messages), len(self.operations) + place)
        self.operations += other.operations
        self.then += other.then
        self.sent |= other.sent
        self.size_bytes += other.size_bytes

    def _keep_operations(self, kept: list[bool]) -> None:
        places = [index for index, stays in enumerate(kept) if stays]
        self.attached = {new for new, old in enumerate(places) if old in self.attached}
        self.operations = list(compress(self.operations, kept))

    def _keep_messages(self, kept: list[bool]) -> None:
        messages, self.messages, self.retained = list(compress(self.messages, kept)), [], {}
        for message in messages:
            self.add(message)
        self.size_bytes = self._weigh()

    def _weigh(self) -> int:
        handed_on = sum(_size_of(each.message) for each in self.handed_on)
        return handed_on + sum(map(_size_of, self.messages)) + sum(map(size_of_change, self.operations))

    def operate(self, operations: Iterable[Change], then: Callable[[], None] | None = None) -> None:
        """Change what the store keeps of a session; `then` is called once it is stored."""
        for change in operations:
            self.operations.append(change)
            self.size_bytes += size_of_change(change)
        if then is not None:
            self.then.append(then)
            self.size_bytes += CHANGE_BYTES

    def add(self, message: Message) -> None:
        """Put a message behind the others."""
        self.messages.append(message)
        self.size_bytes += _size_of(message)
        if message.is_retain:
            self.size_bytes += RETAINED_BYTES
            # [v5 MQTT-3.3.1-5] the last one stays; [v5 MQTT-3.3.1-6] an empty payload clears.
            self.retained[message.topic_name] = message if message.payload else None

    def attach_to(self, message: Message, operations: Iterable[Change]) -> None:
        """Add changes that have to be stored with a message."""
        for change in operations:
            self.attach(change)
        if message.__class__ is WillMessage:
            self.wills.add(message.client_id)

    def make_wills_due(self, client_id: str) -> list[Change]:
        """Make a client's wills here due; return what has to be stored for that. For a batch without control changes."""
        if client_id not in self.wills:
            return []
        self.wills.discard(client_id)
        changes: list[Change] = []
        for index, change in enumerate(self.operations):
            if is_clear_will(change, client_id):
                due, self.operations[index] = self._make_will_due(change)
                changes += due
        self.size_bytes = self._weigh()
        return changes

    def owe(self, publisher: Publisher, packet_id: int, message: Message) -> None:
        """Note that `publisher` is to be told once `message`, of QoS 1 or 2, is stored."""
        if message.qos == 1:
            self.pubacks.append((publisher, packet_id, message.topic_name))
        else:
            self.pubrecs.append((publisher, packet_id))


def size_of_change(change: Change) -> int:
    """Return what a change takes in memory, and in the request."""
    if isinstance(change, Operation):
        return CHANGE_BYTES + sum(len(each) for each in change.arguments if isinstance(each, str | bytes))
    if isinstance(change, Enqueue | EnqueueRetained | Deliver):
        return CHANGE_BYTES + len(change.entry)
    return CHANGE_BYTES + (len(change.change) if isinstance(change, RouteChange) else 0)


def is_clear_will(change: Change, client_id: str) -> bool:
    """Tell whether a change removes a client's will, where the client may have set another one."""
    return isinstance(change, Operation) and change.command == "HDEL" and change.client_id == client_id


def _is_received_by(client_id: str, change: Change) -> bool:
    return isinstance(change, Operation) and change.command == "SADD" and change.client_id == client_id


def _size_of(message: Message) -> int:
    return len(message.payload) + len(message.properties) + len(message.topic_name) + MESSAGE_OVERHEAD_BYTES
