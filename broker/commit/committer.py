"""Commits batches one after another: the conductor of promise 1, «acknowledged means stored».

    socket -> [ batch that collects ] -> [ batch on its way ] -> store -> acknowledge + deliver

Nothing here happens per message in the event loop: one call per batch and answer. Latency adapts to load by itself:
an idle broker commits single messages at once, a busy one ever larger batches, up to BATCH_MESSAGES and BATCH_BYTES.
Where there are other nodes, a message that would leave alone waits for LINGER_S: a subscription that another node was sent
just before it overtakes it, as it would at one node, for what is no message does not wait.
A batch whose answer is lost or an error is tried again under the same number until it is stored; meanwhile nothing is
acknowledged and, past BACKLOG_BYTES, nothing more is read.

Messages wait while the store is full, or the views are too far behind (`admits_messages`). What frees memory never waits with
them: changes that belong to no message (subscriptions, acknowledgements of subscribers, ends of sessions, wills, CONNECTs)
leave in batches of their own then, which Redis executes although it is over its limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from broker.commit.batch import MOST_CHANGES, Batch, Publisher, Queue, Reader
from store.commit_log import CommitLog, CommitRefusedError, FencedError, Outdated, StoreLimits
from store.link import LinkDownError, Replies, StoreLink
from store.session_store import QueueEntry, encode_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sized

    from broker.commit.batch import HandedOn
    from store.commit_log import Change, ClientChange, Committed, Standing
    from store.model import Message

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.05, 1.0
HOLD_CHECK_S = 0.01
UNBOUNDED = StoreLimits(1 << 62, 1 << 62)
OUT_OF_MEMORY = "OOM"
FEW_COPIES = 16
COPY_BYTES = 300
"""What a copy of a message weighs in its batch: a batch of BATCH_BYTES is delivered, or queued, in some tens of ms."""
FULL_PAUSE_S = 0.25  # after the store has refused a commit for want of memory
LINGER_S = 0.002  # four times what a SUBSCRIBE takes to the store on an idle machine


class FanOut(Protocol):
    """Who is subscribed to what, as far as commits care."""

    widest: int
    """No topic name has more subscribers."""

    def match(self, topic_name: str) -> Sized:
        """Return the subscribers of a topic name."""


class _NoFanOut:
    widest = 0

    def match(self, topic_name: str) -> Sized:  # noqa: ARG002  nobody is subscribed to anything
        return ()


class Peers(Protocol):
    """The other nodes, as far as commits care."""

    @property
    def standing(self) -> Standing:
        """What this node knows of them."""

    @property
    def has_others(self) -> bool:
        """Whether there are any."""

    @property
    def is_ready(self) -> bool:
        """Whether it knows what the others want: before, nothing may be committed."""

    def catch_up(self, outdated: Outdated) -> None:
        """Take note of what it does not know yet."""

    def committed(self, committed: Committed) -> None:
        """Take what they have for this node, stored before its commit, and the routes' version behind it."""

    def fenced(self) -> None:
        """Take note that they have given this node up."""


class Committer:
    """Owns the batches between the sockets and the store.

    `prepare(batch)` is called with every batch just before it leaves, once.
    `on_stored(batch, sequence_numbers)` is called in commit order with every batch once it is stored.
    `on_congestion(is_congested)` is called when the backlog crosses its bound either way.
    `admits_messages()`: whether messages may be stored now; what frees memory does not ask.
    `fan_out`: tells how many copies a message has; a batch with many is closed earlier.
    `store_limits()`: how much the store keeps at most.
    `peers`: what this node knows of the others; a commit that it knows too little for is prepared anew.
    """

    def __init__(
        self,
        link: StoreLink,
        commit_log: CommitLog,
        *,
        batch_messages: int,
        batch_bytes: int,
        backlog_bytes: int,
        prepare: Callable[[Batch], None],
        on_stored: Callable[[Batch, list[int] | None], None],
        on_congestion: Callable[[bool], None],
        peers: Peers,
        now_ms: Callable[[], int],
        admits_messages: Callable[[], bool] = lambda: True,
        store_limits: Callable[[], StoreLimits] = lambda: UNBOUNDED,
        fan_out: FanOut | None = None,
    ) -> None:
        self._link = link
        self._commit_log = commit_log
        self._batch_messages, self._batch_bytes, self._backlog_bytes = batch_messages, batch_bytes, backlog_bytes
        self._prepare, self._on_stored = prepare, on_stored
        self._on_congestion, self._admits_messages, self._store_limits = on_congestion, admits_messages, store_limits
        self._peers, self._now_ms = peers, now_ms
        self._fan_out = fan_out if fan_out is not None else _NoFanOut()
        self.added = 0
        """How many messages have been added."""
        self._standing = peers.standing
        self._collecting = Batch()
        self._full: deque[Batch] = deque()
        self._control: deque[Batch] = deque((Batch(),))  # what leaves although messages have to wait; the last collects
        self.is_holding = False
        """Whether messages wait while what frees memory is stored."""
        self._in_flight: Batch | None = None
        self._is_sent = self._is_single = self._is_lingering = False
        self._is_freeing = False  # the batch in flight may be stored over the store's limit
        self._is_unknown = False  # whether a try of the batch in flight may have been stored
        self._full_until_s = 0.0  # the store has said that it is out of memory
        self.retained_version = 0
        """Of the retained messages before the commit whose answer is acted on."""
        self._number = 1
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._retry_s = FIRST_RETRY_S
        self._idle = asyncio.Event()
        self._idle.set()
        self.backlog_bytes = 0
        self.is_congested = False
        self.is_store_failing = False
        self.refusal = ""  # what the store said to the commit under way, where it refuses it
        self.commits = 0
        self.refused_retained = 0
        self.dropped = 0  # QoS 0 while the store fails, and what was too old in a session's queue

    def add(
        self,
        message: Message,
        publisher: Publisher | None = None,
        packet_id: int = 0,
        operations: Collection[Change] = (),
    ) -> None:
        """Put a message into the batch that collects; `publisher` is acknowledged once it is stored, with `operations`.

        While the store fails, QoS 0 messages may fill half of the backlog; what is beyond is dropped and counted.
        """
        is_waiting = self.is_store_failing or self.is_holding
        if is_waiting and not message.qos and self.backlog_bytes > self._backlog_bytes // 2:
            self.dropped += 1
            return
        batch = self._collecting
        before = batch.size_bytes
        batch.add(message)
        if publisher is not None:
            batch.owe(publisher, packet_id, message)
        if operations:
            batch.attach_to(message, operations)
        self.added += 1
        if self._fan_out.widest > FEW_COPIES:
            batch.size_bytes += COPY_BYTES * len(self._fan_out.match(message.topic_name))
        self._grown(batch, batch.size_bytes - before, is_message=True)

    def enqueue(self, queue: Queue, entry: QueueEntry, retained_version: int | None = None) -> None:
        """Put a message into one session's queue without publishing it to anybody else; see `Batch.enqueue`."""
        batch = self._collecting
        before = batch.size_bytes
        batch.enqueue(queue, entry, encode_entry(entry), retained_version)
        self._grown(batch, batch.size_bytes - before)

    def operate(self, operations: Iterable[Change], then: Callable[[], None] | None = None) -> None:
        """Change what the store keeps of a session, in order with everything else; `then` is called once that is stored.

        In order with messages only as long as these do not wait for the store to have room.
        """
        if self._is_single and self._collecting.handed_on:
            self._attach(operations)
            return
        batch = self._control[-1] if self.is_holding else self._collecting
        before = batch.size_bytes
        batch.operate(operations, then)
        self._grown(batch, batch.size_bytes - before)

    def _attach(self, operations: Iterable[Change]) -> None:
        batch = self._collecting
        before = batch.size_bytes
        for change in operations:
            batch.attach(change)
        self._grown(batch, batch.size_bytes - before)

    def hand_on(self, handed_on: HandedOn) -> None:
        """Give a message that is stored already to a member of a group."""
        batch = self._collecting
        before = batch.size_bytes
        batch.hand_on(handed_on)
        self._grown(batch, batch.size_bytes - before)

    @contextmanager
    def single_commit(self) -> Iterator[None]:
        """Store everything that is added meanwhile with one commit, however large it is."""
        self._is_single = True
        try:
            yield
        finally:
            self._is_single = False

    def sent(self, client_id: str, sequence_number: int) -> None:
        """Note up to which entry of its queue a client has been sent."""
        batch = self._control[-1] if self.is_holding else self._collecting
        batch.sent[client_id] = sequence_number
        self._grown(batch, 0)

    def discard(self, client_id: str) -> None:
        """Forget what a client that has gone has sent and what could not be stored: it was not acknowledged."""
        for batch in self._waiting():
            before = batch.size_bytes
            self.dropped += batch.discard(client_id)
            self.backlog_bytes += batch.size_bytes - before

    def notify_stored(self, reader: Reader, size_bytes: int, *, has_messages: bool) -> bool:
        """Tell a connection once what it has brought so far is stored. False: nothing waits to be stored.

        What it has brought may have to wait, with the messages, for the store to have room, or not (`is_holding`).
        """
        candidates = (self._collecting, *reversed(self._full), *reversed(self._control))
        if self.is_holding and not has_messages:
            candidates = (*reversed(self._control), self._collecting, *reversed(self._full))
        batch = next((each for each in candidates if not each.is_empty), self._in_flight)
        if batch is None:
            return False
        batch.readers.append((reader, size_bytes))
        return True

    def _waiting(self) -> tuple[Batch, ...]:
        return (*self._full, self._collecting)

    def _grown(self, batch: Batch, size_bytes: int, *, is_message: bool = False) -> None:
        self.backlog_bytes += size_bytes
        is_full = (
            len(batch.messages) >= self._batch_messages
            or batch.size_bytes >= self._batch_bytes
            or len(batch.operations) >= MOST_CHANGES
        )
        if is_full and batch is self._control[-1]:
            self._control.append(Batch())
        elif is_full and not self._is_single:
            self._full.append(batch)
            self._collecting = Batch()
        if self._is_lingering and (is_full or not is_message):
            self._cancel_timer()
        if self._timer is None and self._in_flight is None:
            self._is_lingering = is_message and not is_full and self._peers.has_others
            # The rest of this loop turn joins the batch before it leaves.
            if self._is_lingering:
                self._timer = self._loop.call_later(LINGER_S, self._send_next)
            else:
                self._timer = self._loop.call_soon(self._send_next)
            self._idle.clear()
        if self.backlog_bytes > self._backlog_bytes and not self.is_congested:
            self.is_congested = True
            self._on_congestion(True)

    @property
    def is_filling(self) -> bool:
        """Whether half of the backlog is taken: who publishes now waits before more is read from it."""
        return self.backlog_bytes > self._backlog_bytes // 2

    async def drain(self) -> None:
        """Return when everything added has been stored."""
        await self._idle.wait()

    def link_is_up(self) -> None:
        """Go on at once: the link calls this when it has a connection."""
        if self._in_flight is not None and not self._is_sent:
            self._cancel_timer()
            self._send()

    def _send_next(self) -> None:
        """Send the next batch; the one that decides what leaves when messages have to wait."""
        self._timer = None
        self._is_lingering = False
        if not self._peers.is_ready:
            self._timer = self._loop.call_later(HOLD_CHECK_S, self._send_next)
            return
        if self._loop.time() >= self._full_until_s and self._admits_messages():
            self.is_holding = False
        elif not self.is_holding:
            self._hold()
        batch = self._next_batch()
        if batch is None:
            if self.is_holding and not (self._collecting.is_empty and not self._full):
                self._timer = self._loop.call_later(HOLD_CHECK_S, self._send_next)
            else:
                self._idle.set()
            return
        self._in_flight = batch
        self._send_anew()

    def _hold(self) -> None:
        """Have messages wait, and what is collected beside them leave."""
        self.is_holding = True
        for place, batch in enumerate(self._waiting()):
            for earlier in self._waiting()[:place]:
                for client_id in batch.owned.keys() & earlier.wills:
                    before = earlier.size_bytes
                    changes = earlier.make_wills_due(client_id)
                    self.backlog_bytes += earlier.size_bytes - before
                    self.operate(changes)
            before = batch.size_bytes
            control = batch.take_control()
            self.backlog_bytes += batch.size_bytes - before + control.size_bytes
            self._control[-1].join(control)
            if len(control.operations) >= MOST_CHANGES:
                self._control.append(Batch())
            if batch.is_empty:
                batch.notify_readers()
        self._full = deque(batch for batch in self._full if not batch.is_empty)

    def _next_batch(self) -> Batch | None:
        self._is_freeing = self.is_holding
        if not self._control[0].is_empty:  # also when messages are admitted again: it is older than what follows
            self._is_freeing = True
            batch = self._control.popleft()
            if not self._control:
                self._control.append(Batch())
        elif self.is_holding:
            return None
        elif self._full:
            batch = self._full.popleft()
        else:
            batch = self._collecting
            if batch.is_empty:
                return None
            self._collecting = Batch()
        return batch

    def own(self, change: ClientChange, then: Callable[[], None]) -> None:
        """Serve a client from now on; `then` is called once that is stored."""
        if self.is_holding:
            self._make_wills_due(change.client_id)
        batch = self._control[-1] if self.is_holding else self._collecting
        before = batch.size_bytes
        batch.own(change.client_id, change)
        batch.operate((), then)
        self._grown(batch, batch.size_bytes - before)

    def _make_wills_due(self, client_id: str) -> None:
        """Make a client's wills that wait to be published due: the connection that begins would publish them as well."""
        for batch in self._waiting():
            before = batch.size_bytes
            changes = batch.make_wills_due(client_id)
            self.backlog_bytes += batch.size_bytes - before
            self.operate(changes)

    def leave_out(self, client_id: str) -> None:
        """Take what a client sent out of the batches that have not left: another node serves it now.

        What it sent since it came back to this node stays.
        """
        if self._in_flight is not None and client_id in self._in_flight.owned:
            return
        for batch in (*self._control, *self._waiting()):
            is_back = client_id in batch.owned
            self._leave_out(batch, (client_id,))
            if is_back:
                return

    def _leave_out(self, batch: Batch, client_ids: Collection[str]) -> None:
        before = batch.size_bytes
        batch.leave_out(client_ids)
        self.backlog_bytes += batch.size_bytes - before

    def _send_anew(self) -> None:
        """Find where the messages go by what is known of the other nodes now, and send the batch."""
        self._timer = None
        if not self._peers.is_ready:
            self._timer = self._loop.call_later(HOLD_CHECK_S, self._send_anew)
            return
        batch = self._in_flight
        assert batch is not None  # noqa: S101  only called with a batch on its way
        self.backlog_bytes -= batch.routed_bytes
        batch.clear_routing()
        self._standing = self._peers.standing
        self._prepare(batch)
        self.backlog_bytes += batch.routed_bytes
        self._send()

    def _send(self) -> None:
        batch = self._in_flight
        assert batch is not None  # noqa: S101  only called with a batch on its way
        data = self._commit_log.request(
            self._number,
            batch.messages,
            batch.retained.items(),
            batch.changes or ([] if batch.then else None),
            self._standing,
            self._now_ms(),
            self._store_limits(),
            is_freeing=self._is_freeing,
        )
        try:
            self._link.request(data, self._commit_log.reply_count, self._answered)
            self._is_sent = True
        except LinkDownError:
            self.is_store_failing = True  # link_is_up() sends it

    def _answered(self, replies: Replies | None) -> None:
        self._is_sent = False
        if replies is None:
            self.is_store_failing = self._is_unknown = True  # link_is_up() sends it again
            return
        try:
            committed = self._commit_log.read_replies(replies)
        except CommitRefusedError as error:
            self._refused(str(error))
            return
        except FencedError:
            self._peers.fenced()
            return
        if isinstance(committed, Outdated):
            self._catch_up(committed)
            return
        self._peers.committed(committed)
        self.refused_retained += committed.refused_retained
        self.dropped += committed.dropped
        self.retained_version = committed.retained_version
        self._stored(committed.sequence_numbers)

    def _catch_up(self, outdated: Outdated) -> None:
        """Take note of what the other nodes did, and try again without the clients that they serve now."""
        if outdated.lost_client_ids and self._in_flight is not None:
            self._leave_out(self._in_flight, outdated.lost_client_ids)
        self._peers.catch_up(outdated)
        self._send_anew()

    def _refused(self, reason: str) -> None:
        if reason.startswith(OUT_OF_MEMORY):
            self._full_until_s = self._loop.time() + FULL_PAUSE_S
            if not self._is_unknown:
                self._put_back()
                return
            self._is_freeing = True  # it may be stored already: only the same number, once more, can tell
        if not self.is_store_failing:
            log.warning("The store refuses to store: %s. Nothing is acknowledged meanwhile; trying again.", reason)
        self.is_store_failing, self.refusal = True, reason
        if reason.startswith("NOSCRIPT"):
            self._link.break_connection()  # the next connection loads the script again
            return
        self._timer = self._loop.call_later(self._retry_s, self._retry)
        self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)

    def _put_back(self) -> None:
        """Have the batch in flight wait with the others: the store has said that it is not stored."""
        batch, self._in_flight = self._in_flight, None
        assert batch is not None  # noqa: S101  an answer belongs to the batch on its way
        self.backlog_bytes -= batch.routed_bytes
        batch.clear_routing()
        self._full.appendleft(batch)
        self.is_holding = False  # what it has beside messages is to leave
        self._send_next()

    def _retry(self) -> None:
        self._timer = None
        self._send()

    def _stored(self, sequence_numbers: list[int] | None) -> None:
        batch, self._in_flight = self._in_flight, None
        assert batch is not None  # noqa: S101  an answer belongs to the batch on its way
        self._number += 1
        self._is_unknown = False
        self._retry_s = FIRST_RETRY_S
        if self.is_store_failing:
            self.is_store_failing, self.refusal = False, ""
            log.info("The store accepts messages again.")
        self.commits += 1
        self.backlog_bytes -= batch.size_bytes + batch.routed_bytes
        batch.notify_readers()
        self._send_next()  # the next batch travels while this one is acknowledged
        self._on_stored(batch, sequence_numbers)
        if self.is_congested and self.backlog_bytes <= self._backlog_bytes // 2:
            self.is_congested = False
            self._on_congestion(False)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._is_lingering = False
