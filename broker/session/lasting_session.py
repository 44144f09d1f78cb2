"""A session that outlives its connection and this process: its queue is a stream in the store (MQTT 5.0 §4.1, §4.4).

    commit enqueues -> [ store: entry N ] -> loaded -> sent (in flight) -> acknowledged: entry N removed

An entry is sent under the packet identifier that follows from its number, so what was in flight before a reconnect or a
restart is sent again under the same identifier without having been written anywhere. In memory there are only the
entries in flight and a page of those that come next; while that page is at the end of the queue, new entries join it
directly, else they are read when their turn comes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.session.session import DELIVERY_BYTES, MAX_PACKET_ID, Attachment, Delivery, Session, SessionLimits, encode
from broker.wire.puback import Pubrel
from broker.wire.reason_codes import ReasonCode
from store import session_store
from store.link import LinkDownError, Replies, StoreLink, pack
from store.session_store import Loaded, QueueEntry, StoredState

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.commit.committer import Committer
    from broker.session.delivery_memory import DeliveryMemory
    from broker.session.message_broker import Counters
    from broker.session.outgoing import OutgoingPublish
    from store.commit_log import Operation
    from store.model import Message

MOST_LOADED, LOW_LOADED = 400, 100
OUTDATED = -2
"""Instead of the number of an entry: another message is retained by now, and that one has come live."""


def packet_id_of(sequence_number: int) -> int:
    """Return the packet identifier of a queue entry (1 to 65,535)."""
    return (sequence_number - 1) % MAX_PACKET_ID + 1


@dataclass(frozen=True, slots=True)
class Backing:
    """What lasting sessions need of the broker: the store both ways, time, and messages made ready to be sent."""

    committer: Committer
    link: StoreLink
    monotonic: Callable[[], float]
    wall_ms: Callable[[], int]
    outgoing: Callable[[Message, float], OutgoingPublish]


class LastingSession(Session):
    """A session whose QoS 1 and 2 messages wait in the store. `restore` it after attaching, before anything is sent."""

    __slots__ = (
        "_backing",
        "_is_loading",
        "_is_noting",
        "_loaded",
        "_loaded_to",
        "_noted_to",
        "_page",
        "_released",
        "_repeat_to",
        "_sent_to",
        "_tail",
        "is_loaded",
        "is_served",
    )

    is_lasting = True

    def __init__(
        self, client_id: str, limits: SessionLimits, counters: Counters, memory: DeliveryMemory, backing: Backing
    ) -> None:
        super().__init__(client_id, limits, counters, memory)
        self._backing = backing
        self._loaded: deque[Loaded] = deque()
        self._loaded_to = 0  # the last entry read
        self._sent_to = 0  # the last entry sent, ever
        self._noted_to = 0  # the last entry of which the store knew that it is sent before it was
        self._repeat_to = 0  # the last entry sent on an earlier connection
        self._tail = 0.0  # the last entry known to exist; infinite: look
        self._released: set[int] = set()
        self._is_loading = self._is_noting = False
        self._page = session_store.Page()  # what is read at once
        self.is_loaded = False
        self.is_served = False

    # --- what the store holds

    def restore(self, state: StoredState) -> None:
        """Go on from what the store holds: every entry is sent, those of earlier connections as repeats [v5 MQTT-4.4.0-1]."""
        self._repeat_to = self._sent_to = max(state.sent, self._sent_to)
        self._released = state.released
        self.received = dict.fromkeys(state.received, True)
        self.forget_loaded()
        self._page = session_store.Page.of(state.queued, state.queued_bytes)
        self._loaded_to = 0 if state.queued else self._sent_to
        self._tail = state.last if state.queued else self._sent_to
        self._is_loading = self._is_noting = False
        self.is_loaded = True

    def forget_loaded(self) -> None:
        """Keep nothing in memory that the store has: nobody is connected."""
        self.is_loaded = self._is_loading = False
        self.in_flight.clear()
        self._loaded.clear()
        self._memory.refund(self, self.held_bytes)
        self._memory.waiting.discard(self)

    def enqueued(self, sequence_number: int | None, entry: QueueEntry, entry_bytes: int) -> None:
        """Take a new entry of the queue, or note that it was refused; None: its number is not known, so look."""
        if sequence_number is not None and sequence_number <= 0:
            self.counters.messages_dropped += sequence_number != OUTDATED
            return
        if not self.is_loaded:
            return
        is_next = sequence_number == self._loaded_to + 1
        if (
            sequence_number is not None
            and is_next
            and not self._is_loading
            and len(self._loaded) < MOST_LOADED
            and self._memory.take(self, entry_bytes + DELIVERY_BYTES)
        ):
            self._loaded.append(Loaded(sequence_number, entry, entry_bytes))
            self._loaded_to = sequence_number
        else:
            self._tail = float("inf") if sequence_number is None else max(self._tail, sequence_number)
        self.send_queued(self._backing.monotonic())

    def look(self) -> None:
        """Look for entries that other nodes' commits have put into the queue."""
        if self.is_loaded:
            self._tail = float("inf")
            self.send_queued(self._backing.monotonic())

    def _load_more(self) -> None:
        if self._is_loading or not self.is_loaded:
            return
        if not self._memory.take(self, self._page.size_bytes):
            self._memory.waiting.add(self)
            return
        command = pack(session_store.page_command(self.client_id, self._loaded_to, self._page.entries))
        try:
            self._backing.link.request(command, 1, self._page_came)
            self._is_loading = True
        except LinkDownError:  # asked for again as soon as the store can be reached
            self._memory.refund(self, self._page.size_bytes)

    def _page_came(self, replies: Replies | None) -> None:
        if not self._is_loading:
            return  # asked for by an earlier connection
        self._is_loading = False
        asked, self._page = self._page, session_store.Page()
        self._memory.refund(self, asked.size_bytes)
        if replies is None or isinstance(replies[0], Exception):
            return
        page = session_store.read_entries(replies[0])
        size_bytes = sum(each.entry_bytes for each in page)
        self._page = session_store.Page.of(len(page), size_bytes)
        new = [each for each in page if each.number > self._loaded_to]
        self._memory.adopt(self, sum(each.entry_bytes for each in new) + DELIVERY_BYTES * len(new))
        self._loaded += new
        if page:
            self._loaded_to = max(self._loaded_to, page[-1].number)
        if len(page) < asked.entries:
            self._tail = self._loaded_to  # the answer holds everything that was committed before it
        self.send_queued(self._backing.monotonic())

    # --- sending

    def deliver(self, delivery: Delivery, now: float) -> None:
        """Send QoS 0 now or never; what has a higher QoS goes through the store."""
        if delivery.qos == 0:
            super().deliver(delivery, now)
        else:
            entry = QueueEntry(
                delivery.publish.message,
                delivery.qos,
                delivery.is_retain,
                delivery.subscription_identifiers,
                delivery.shared_filter,
                self._backing.wall_ms(),
            )
            self._backing.committer.enqueue(self, entry, delivery.retained_version)

    @property
    def is_queue_half_full(self) -> bool:
        """Whether messages that can wait elsewhere (retained ones) should."""
        return len(self._loaded) >= MOST_LOADED // 2

    def send_queued(self, now: float) -> None:
        """Send what is loaded, as far as window and socket have room; load more when little is left."""
        attachment, before = self.attachment, self._sent_to
        while (
            self._loaded
            and attachment is not None
            and attachment.is_writable
            and len(self.in_flight) < self.window
            and packet_id_of(self._loaded[0].number) not in self.in_flight
        ):
            if self._has_to_be_noted(self._loaded[0]):
                self._note()
                break
            is_allowed = self._may_send(attachment, self._loaded[0])
            if is_allowed is None:
                break  # the gate calls again when it knows
            loaded = self._loaded.popleft()
            if is_allowed:
                self._send_entry(attachment, loaded, now)
            else:
                self._sent_to = max(self._sent_to, loaded.number)
                self._discard(loaded)
        if self._sent_to > before:
            self._backing.committer.sent(self.client_id, max(self._sent_to, self._noted_to))
        if len(self._loaded) < LOW_LOADED and self._tail > self._loaded_to:
            self._load_more()

    def _has_to_be_noted(self, loaded: Loaded) -> bool:
        """Tell whether the store has to know that an entry is sent before it is.

        Whatever dies, no other member of a group may get what this one may have at QoS 2 [v5 MQTT-4.8.2-5].
        """
        is_for_one = loaded.entry.qos == 2 and loaded.entry.shared_filter != ""
        return is_for_one and loaded.number > max(self._noted_to, self._repeat_to)

    def _note(self) -> None:
        """Have the store know that what the window has room for is sent; then send it."""
        if self._is_noting:
            return
        self._is_noting = True
        last = self._loaded[min(len(self._loaded), self.window - len(self.in_flight)) - 1].number

        def noted() -> None:
            self._is_noting, self._noted_to = False, max(self._noted_to, last)
            self.send_queued(self._backing.monotonic())

        self._backing.committer.operate([session_store.sent(self.client_id, last)], noted)

    def _may_send(self, attachment: Attachment, loaded: Loaded) -> bool | None:
        gate = attachment.delivery_gate
        if gate is None or loaded.number in self._released:  # the client has that one already
            return True
        return gate.judge(loaded.entry.message.topic_name)

    def _send_entry(self, attachment: Attachment, loaded: Loaded, now: float) -> None:
        number, entry, packet_id = loaded.number, loaded.entry, packet_id_of(loaded.number)
        delivery = Delivery(
            self._backing.outgoing(entry.message, now), entry.qos, entry.is_retain, entry.subscription_identifiers
        )
        delivery.sequence_number, delivery.entry_bytes = number, loaded.entry_bytes
        delivery.queued_at = now - (self._backing.wall_ms() - entry.waits_since_ms) / 1000
        is_repeat, self._sent_to = number <= self._repeat_to, max(self._sent_to, number)
        if number in self._released:
            delivery.is_released = True
            attachment.send(Pubrel(packet_id).encode(attachment.protocol.version))
        elif not is_repeat and self._is_over(delivery, now):  # what was sent before does not expire [v5 MQTT-4.3.3-7]
            self._discard(loaded, is_dropped=True)
            return
        elif not self._send_within(attachment, encode(attachment, delivery, now, packet_id, is_dup=is_repeat)):
            self._discard(loaded)
            return
        self.in_flight[packet_id] = delivery

    def _let_go(self, delivery: Delivery) -> None:
        self._memory.refund(self, delivery.entry_bytes + DELIVERY_BYTES)

    def _discard(self, loaded: Loaded, *, is_dropped: bool = False) -> None:
        self._memory.refund(self, loaded.entry_bytes + DELIVERY_BYTES)
        self._remove(loaded.number, loaded.entry_bytes, is_dropped=is_dropped)

    # --- the client's acknowledgements

    def acknowledged(self, packet_id: int, qos: int, now: float) -> None:
        """Take PUBACK (`qos` 1) or PUBCOMP (2): the entry leaves the queue."""
        delivery = self._acknowledge(packet_id, qos)
        if delivery is not None:
            self._remove_sent(delivery)
            self.send_queued(now)

    def pubrec(self, packet_id: int, reason_code: int, now: float) -> None:
        """Take PUBREC: note it in the store, then answer PUBREL, so that the message can never be sent again."""
        delivery = self.in_flight.get(packet_id)
        if delivery is None or delivery.qos != 2 or reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            if delivery is not None and delivery.qos == 2:
                self._remove_sent(delivery)
            super().pubrec(packet_id, reason_code, now)
            return
        delivery.is_released = True
        operation = session_store.release(self.client_id, delivery.sequence_number)
        self._backing.committer.operate([operation], lambda: self._send_pubrel(packet_id))

    def _send_pubrel(self, packet_id: int) -> None:
        if self.attachment is not None and packet_id in self.in_flight:
            self.attachment.send(Pubrel(packet_id).encode(self.attachment.protocol.version))

    def _remove_sent(self, delivery: Delivery) -> None:
        self._remove(delivery.sequence_number, delivery.entry_bytes, was_released=delivery.is_released)

    def _remove(self, number: int, entry_bytes: int, *, was_released: bool = False, is_dropped: bool = False) -> None:
        self._released.discard(number)
        self._backing.committer.operate(
            session_store.remove(self.client_id, number, entry_bytes, was_released=was_released, is_dropped=is_dropped)
        )

    # --- receiving QoS 2, and subscriptions

    def receive_operations(self, packet_id: int) -> tuple[Operation, ...]:
        """Note the packet identifier in the commit that stores its message."""
        return (session_store.receive(self.client_id, packet_id),)

    def release(self, packet_id: int, answer: Callable[[], None]) -> None:
        """Take PUBREL: the identifier is free, and PUBCOMP may say so, once the store knows."""
        if not self.received.get(packet_id, False):
            answer()
            return
        del self.received[packet_id]
        operation = session_store.forget_received(self.client_id, packet_id)
        self._backing.committer.operate([operation], answer)
