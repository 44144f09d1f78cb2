"""What becomes of clients when nodes change: they are lost to another, adopted from a dead one, or sent what others stored."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from broker.session.lasting_session import LastingSession
from store import cluster, schema
from store.cluster import DueWill, InboxEntry, StoredWill, WillMessage, read_will
from store.session_store import StoredSession, read_sessions_command, sessions_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from broker.session.message_broker import MessageBroker
    from store.commit_log import Change
    from store.link import Replies, StoreLink
    from store.session_store import QueueEntry

log = logging.getLogger(__name__)


class Handover:
    """Implements `membership.Clients` for the sessions of this process."""

    def __init__(self, broker: MessageBroker, node_id: str, link: StoreLink) -> None:
        self._broker = broker
        self._node_id = node_id
        self._link = link

    def lose(self, client_id: str) -> None:
        """End what this node has of a client that another node serves now; its connection is told so."""
        self._broker.sessions.lose(client_id)

    def leave_out(self, client_id: str) -> None:
        """Nothing that it sent before is stored by this node any more."""
        self._broker.committer.leave_out(client_id)

    # --- messages that other nodes have stored

    def single_commit(self) -> AbstractContextManager[None]:
        """What is done meanwhile is stored with one commit."""
        return self._broker.committer.single_commit()

    def operate(self, operation: Change) -> None:
        """Do this with the commit that stores what was delivered before."""
        self._broker.committer.operate([operation])

    def missed(self, messages: int) -> None:
        """Count what this node's full inbox did not take; persistent sessions look for what their queues have got."""
        self._broker.counters.messages_dropped += messages
        self._broker.counters.inbox_messages_missed += messages
        log.warning("This node's inbox was full: %d messages that other nodes had for its clients are lost.", messages)
        for session in self._broker.sessions:
            if isinstance(session, LastingSession):
                session.look()

    def deliver(self, entry: InboxEntry) -> None:
        """Send messages to this node's clients, or put them into their queues."""
        broker = self._broker
        now = broker.monotonic()
        ordinary = set(range(len(entry.messages)) if entry.ordinary is None else entry.ordinary)
        wakened: set[LastingSession] = set()
        shared: dict[int, list[str]] = {}
        for index, shared_filter in entry.shared:
            shared.setdefault(index, []).append(shared_filter)
        for index, message in enumerate(entry.messages):
            if index in ordinary:
                broker.deliver_here(message, now)
                wakened |= broker.lasting_subscribers(message)
            for shared_filter in shared.get(index, ()):
                broker.sharing.to_member_here(message, shared_filter)
        for session in wakened:
            session.look()

    def hand_on(self, left: list[tuple[QueueEntry, bool]]) -> None:
        """Give what a session that has ended had in its queue to other members of its groups."""
        self._broker.sharing.left_in_queue(left)

    # --- wills and sessions that other nodes have left

    def publish_due_will(self, client_id: str, will: StoredWill) -> None:
        """Publish the will of a connection that ended at another node."""
        self._publish(client_id, will, is_due=True)

    def commit(self) -> None:
        """Commit soon, even if there is nothing to store."""
        self._broker.committer.operate((), lambda: None)

    def _publish(self, client_id: str, will: StoredWill, *, is_due: bool) -> None:
        kind = DueWill if is_due else WillMessage
        message = kind(*msgspec.structs.astuple(will.message))
        message = msgspec.structs.replace(message, received_ms=self._broker.wall_ms())
        clear = cluster.clear_will(self._node_id, client_id, is_due=is_due)
        self._broker.committer.add(message, operations=[clear])

    async def adopt(self, client_ids: list[str]) -> None:
        """Serve clients of a dead node until they connect somewhere: their sessions expire and their wills become due here.

        Raises LinkDownError.
        """
        if not client_ids:
            return
        while client_ids:
            client_ids = client_ids[await self._adopt_some(client_ids) :]

    async def _adopt_some(self, client_ids: list[str]) -> int:
        """Adopt as many as one page of sessions has; return how many these were."""
        wills = schema.of_node("wills", self._node_id)
        commands = [
            ("HMGET", schema.OWNERS, *client_ids),
            ("HMGET", wills, *(f"c:{client_id}" for client_id in client_ids)),
            read_sessions_command(client_ids),
        ]
        # Adopted inside the answer: what another node takes over behind it comes behind it here too.
        replies = await self._link.send(commands, lambda replies: self._adopt_all(client_ids, replies))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return len(replies[2])

    def _adopt_all(self, client_ids: list[str], replies: Replies) -> None:
        if any(isinstance(reply, Exception) for reply in replies):
            return
        owners, values, page = replies
        stored = {session.client_id: session for session in sessions_of(client_ids, page)}
        for client_id, owner, value, _ in zip(client_ids, owners, values, page, strict=False):
            if owner != self._node_id.encode() or self._broker.sessions.get(client_id) is not None:
                continue  # it has connected meanwhile
            self._adopt(client_id, stored.get(client_id), None if value is None else read_will(value))

    def _adopt(self, client_id: str, stored: StoredSession | None, will: StoredWill | None) -> None:
        broker = self._broker
        if stored is not None:
            broker.sessions.adopt(stored, will, broker.monotonic())
        else:
            if will is not None:
                self._publish(client_id, will, is_due=False)
            broker.committer.operate([cluster.disown(client_id)])
