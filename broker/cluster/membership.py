"""This node among the others: it joins, beats, reads what they have for it, and takes over what a dead one leaves.

A node that has not beaten for NODE_TIMEOUT_S is given up by the others: its routes go, it can store nothing any more, and
they adopt its clients, a page at a time. Time is the store's. A node judges the others only after it has itself beaten
for that long without a gap, so that an outage of the store is nobody's death.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

import hiredis

from broker.cluster.store_refusal import StoreRefusal
from store import cluster, schema
from store.cluster import ADOPT, ADOPTING_MS, BEAT, BURY, Inboxed, InboxEntry, StoredWill
from store.commit_log import Change, Committed, Outdated, Standing
from store.link import LinkDownError, StoreLink
from store.retained import READ_RETAINED
from store.session_store import READ_SESSIONS, stored_sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from broker.cluster.routes import Routes
    from store.session_store import QueueEntry

log = logging.getLogger(__name__)

LONGEST_BEAT_S = 1.0
BEATS_OF_TIMEOUT = 5
READ_BLOCK_MS = 2_000
READ_ENTRIES = 10
RETRY_S = 0.5

SCAN_COUNT = 200

SCRIPTS = (BEAT.source, BURY.source, ADOPT.source, READ_SESSIONS.source, READ_RETAINED.source)


class Clients(Protocol):
    """The clients of this node, as far as the other nodes change what becomes of them."""

    def lose(self, client_id: str) -> None:
        """Another node serves this client now."""

    def leave_out(self, client_id: str) -> None:
        """Nothing that it sent before may be stored by this node any more."""

    def deliver(self, entry: InboxEntry) -> None:
        """Another node has stored messages that clients of this one want."""

    def hand_on(self, left: list[tuple[QueueEntry, bool]]) -> None:
        """A session has ended and left these entries of its queue, and whether they were sent, to members of its groups."""

    def single_commit(self) -> AbstractContextManager[None]:
        """What is done meanwhile is stored with one commit."""

    def operate(self, operation: Change) -> None:
        """Do this with the commit that stores what was delivered before."""

    def publish_due_will(self, client_id: str, will: StoredWill) -> None:
        """A client has come to this node after its connection to another ended, and left a will there."""

    def commit(self) -> None:
        """Commit soon, even if there is nothing to store."""

    def missed(self, messages: int) -> None:
        """This node's inbox was full: so many messages for its clients are lost, and so are hints to look into queues."""

    async def adopt(self, client_ids: list[str]) -> None:
        """This node serves these clients of a dead one, until they connect somewhere."""


class Membership:
    """Keeps this node a member while `run` runs. Set `clients` and `routes` before.

    `has_joined` is set once this node knows what the others want: before, nothing may be committed.
    `on_fenced()` is called, once, when they have given it up.
    """

    clients: Clients
    routes: Routes

    def __init__(
        self, node_id: str, link: StoreLink, reader: StoreLink, timeout_s: float, on_fenced: Callable[[], None]
    ) -> None:
        self._node_id = node_id
        self._link = link
        self._reader = reader
        self._timeout_s = timeout_s
        self._beat_s = min(LONGEST_BEAT_S, timeout_s / BEATS_OF_TIMEOUT)
        self._on_fenced = on_fenced
        self._lost = 0
        self._missed = 0
        self._is_fenced = False
        self._beating_since = float("inf")
        self._last_beat = 0.0
        self._has_strangers = False
        self.has_others = False
        """Whether there are other nodes, as of the last beat."""
        self._inbox_position = b"0-1"
        self._taken = asyncio.Event()
        self.has_joined = asyncio.Event()
        self.refusal = StoreRefusal()

    # --- what commits ask

    @property
    def standing(self) -> Standing:
        """What this node knows of the others."""
        return Standing(self._lost, self.routes.version, self._inbox_position.decode())

    @property
    def is_ready(self) -> bool:
        """Whether this node knows what the others want: before, nothing may be committed."""
        return self.has_joined.is_set()

    def catch_up(self, outdated: Outdated) -> None:
        """Take what is in the inbox, then note of clients lost and of changed routes, in this order."""
        self._take(outdated.inbox)
        self._note_missed(outdated.missed)
        first = outdated.lost - len(outdated.lost_client_ids) + 1
        for number, client_id in enumerate(outdated.lost_client_ids, first):
            self._lose(client_id, number)
        if outdated.changes is None:
            self.has_joined.clear()  # `run` reads them all anew
        else:
            self._apply(outdated.changes)

    def _apply(self, changes: list[Any]) -> None:
        if not self.routes.apply(cluster.read_changes(changes)):
            self.has_joined.clear()

    def committed(self, committed: Committed) -> None:
        """Take what was stored before a commit of this node, and note the routes' version behind it."""
        self._take(committed.inbox)
        self._note_missed(committed.missed)
        if committed.routes is not None:
            self.routes.version = max(self.routes.version, committed.routes)

    def _note_missed(self, missed: int) -> None:
        if missed > self._missed:
            count, self._missed = missed - self._missed, missed
            self.clients.missed(count)

    def _take(self, entries: list[Any]) -> None:
        """Act on entries of the inbox that are new. They come with commits, so that all messages are in one order."""
        entries = [each for each in entries if _position(each[0]) > _position(self._inbox_position)]
        if not entries:
            return
        self._inbox_position = entries[-1][0]
        if self.routes.is_leaving:  # those who stay adopt this node's sessions and share its inbox out
            return
        with (
            self.clients.single_commit()
        ):  # what is handed on leaves the inbox with the commit that does so: never twice
            for each in cluster.read_inbox(entries):
                self._take_one(each)
            self.clients.operate(cluster.read_up_to(entries))
        self._taken.set()

    def _take_one(self, inboxed: Inboxed) -> None:
        if inboxed.entry is not None:
            self.clients.deliver(inboxed.entry)
        elif inboxed.lost is not None:
            self._lose(*inboxed.lost)
        elif inboxed.will is not None:
            self.clients.publish_due_will(*inboxed.will)
        elif inboxed.left is not None:
            self.clients.hand_on(inboxed.left)

    def fenced(self) -> None:
        """Take note that the others have given this node up."""
        if not self._is_fenced:
            self._is_fenced = True
            log.error("The other nodes have given this one up: it was silent for %g s or more.", self._timeout_s)
            self._on_fenced()

    def _lose(self, client_id: str, number: int) -> None:
        if number == self._lost + 1:
            self._lost = number
            self.clients.lose(client_id)
            self.clients.leave_out(client_id)

    # --- life

    async def run(self) -> None:
        """Join, then stay a member until cancelled, whatever the store does meanwhile."""
        await self._until_done(self._join)
        await asyncio.gather(self._beat_forever(), self._read_forever(), self._reread_forever())

    async def leave(self) -> None:
        """Say that this node is gone: the others adopt its clients at once. Raises LinkDownError."""
        await self._link.call(cluster.bury_command(self._node_id, 0))

    async def _until_done(self, work: Callable[[], Any]) -> None:
        while True:
            await self._link.wait_up()
            try:
                await work()
            except (LinkDownError, hiredis.HiredisError) as error:
                self._not_done(error)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _not_done(self, error: Exception) -> None:
        if isinstance(error, LinkDownError):  # the link logs that
            log.debug("The store was lost: %s", error)
        else:
            self.refusal.refused(error)

    async def _join(self) -> None:
        beat = cluster.beat_command(self._node_id, int(self._timeout_s * 1000))
        joined, *_ = await self._link.send([*cluster.join_commands(self._node_id), beat])  # seen by all if it dies now
        if isinstance(joined, Exception):
            raise joined
        await self._beat()
        await self._read_routes()
        self.has_joined.set()

    async def _read_routes(self) -> None:
        """Mirror what there is, page by page; changes that come meanwhile are applied behind it. No commit leaves meanwhile."""
        version, members = await self._link.call(("GET", schema.ROUTES_VERSION), ("ZRANGE", schema.MEMBERS, 0, -1))
        self.routes.clear()
        for node_id in (node.decode() for node in members):
            if node_id != self._node_id:
                await self._read_node_routes(node_id)
        async for page in stored_sessions(self._link):
            for session in page:
                self.routes.mirror_session(session)
        self.routes.log_parked()
        self.routes.version = int(version or 0)

    async def _read_node_routes(self, node_id: str) -> None:
        cursor = b"0"
        while True:
            command = ("HSCAN", schema.of_node("routes-of", node_id), cursor, "COUNT", SCAN_COUNT)
            ((cursor, table),) = await self._link.call(command)
            for topic_filter, count in zip(table[::2], table[1::2], strict=True):
                self.routes.set_node_route(node_id, topic_filter.decode(), int(count))
            if cursor == b"0":
                return

    async def _reread_forever(self) -> None:
        while True:
            if not self.has_joined.is_set():
                await self._until_done(self._read_routes)
                self.has_joined.set()
            await asyncio.sleep(RETRY_S)

    # --- heartbeat

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self._beat()
            except (LinkDownError, hiredis.HiredisError) as error:
                self._not_done(error)
                await self._link.wait_up()
            await asyncio.sleep(self._beat_s)

    async def _beat(self) -> None:
        (answer,) = await self._link.call(cluster.beat_command(self._node_id, int(self._timeout_s * 1000)))
        self.refusal.accepted()
        is_member, silent, dead, members = answer
        self.has_others = members > 1
        now = asyncio.get_running_loop().time()
        if not is_member:
            self.fenced()
            return
        if now - self._last_beat > self._timeout_s / 2:
            self._beating_since = now
        self._last_beat = now
        if now - self._beating_since >= self._timeout_s:
            for node in silent:
                if node.decode() != self._node_id:
                    await self._bury(node.decode())
        if self.has_joined.is_set():
            if self._has_strangers:
                await self._adopt_strangers()
            for node in dead:
                await self._adopt(node.decode())

    async def _bury(self, node_id: str) -> None:
        (is_done,) = await self._link.call(cluster.bury_command(node_id, int(self._timeout_s * 1000)))
        if is_done:
            log.warning("Node %s has been silent for %g s; its clients are taken over.", node_id, self._timeout_s)

    async def _adopt(self, dead_id: str) -> None:
        lease = ("SET", schema.of_node("adopting", dead_id), self._node_id, "NX", "PX", ADOPTING_MS)
        (is_ours,) = await self._link.call(lease)
        if is_ours is None:
            return
        has_more, count = 1, 0
        self._has_strangers = True
        while has_more:
            (answer,) = await self._link.call(cluster.adopt_command(dead_id, self._node_id))
            has_more, client_ids = answer
            count += len(client_ids)
            await self.clients.adopt([each.decode() for each in client_ids])
        self._has_strangers = False
        if count:
            log.info("Took over %d clients of node %s, which is gone.", count, dead_id)

    async def _adopt_strangers(self) -> None:
        """Adopt the clients that were taken over for this node when the answer was lost, or the next step failed."""
        (owned,) = await self._link.call(("SMEMBERS", schema.of_node("owned", self._node_id)))
        client_ids = [each.decode() for each in owned]
        for start in range(0, len(client_ids), cluster.ADOPT_CLIENTS):
            await self.clients.adopt(client_ids[start : start + cluster.ADOPT_CLIENTS])
        self._has_strangers = False

    # --- what the others have for this node

    async def _read_forever(self) -> None:
        while True:
            await self._reader.wait_up()
            try:
                await self._read()
            except (LinkDownError, hiredis.HiredisError) as error:
                log.debug("Nothing read of the other nodes: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        """Wait for changes of the routes, and for something in the inbox: it comes with the next commit."""
        await self.has_joined.wait()  # else what is read is not applied, and would be read again and again
        inbox = schema.of_node("inbox", self._node_id)
        streams = (inbox, schema.ROUTES, self._inbox_position, f"0-{self.routes.version}")
        self._taken.clear()
        (reply,) = await self._reader.call(
            ("XREAD", "COUNT", READ_ENTRIES, "BLOCK", READ_BLOCK_MS, "STREAMS", *streams)
        )
        found = dict(reply or [])
        if self.has_joined.is_set():
            self._apply(found.get(schema.ROUTES.encode(), []))
        if inbox.encode() in found and not self._taken.is_set() and not self.routes.is_leaving:
            self.clients.commit()
            await self._taken.wait()


def _position(entry_id: bytes) -> tuple[int, int]:
    ms, _, seq = entry_id.partition(b"-")
    return int(ms), int(seq)
