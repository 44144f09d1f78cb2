"""What nodes share in the store, asked of the scripts themselves, where between two processes it would be a race."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import hiredis
import pytest
import redis

from broker.cluster.membership import SCRIPTS
from store import cluster, schema, session_store
from store.cluster import InboxEntry, StoredWill
from store.commit_log import COMMIT, CommitLog, Committed, Enqueue, EnqueueRetained, Outdated, Standing, StoreLimits
from store.model import Message
from store.session_store import QueueEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.valkey import EmbeddedValkey
    from store.commit_log import Change

MESSAGE = Message("t", "publisher", 1_000, 1, b"payload")
LIMITS: dict[str, Any] = {"max_retained": 10, "queue_messages": 10, "queue_bytes": 10_000, "queue_age_s": 60}
INBOX_PAGE = 1000
BOUNDS = StoreLimits(1_000_000, 1_000_000)
FIRST = b"0-1"
"""The first entry of each inbox: the node has joined."""


class StoredNode:
    """A node, as far as the store knows it."""

    def __init__(self, name: str, server: EmbeddedValkey, client: redis.Redis) -> None:
        self.name = name
        self.log = CommitLog(name, is_fsynced=False, **LIMITS)
        self._client = client
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(server.url.removeprefix("unix://"))
        for command in (*cluster.join_commands(name), cluster.beat_command(name, 5_000)):
            client.execute_command(*command)

    def commit(
        self,
        number: int,
        *changes: Change,
        read_to: bytes = FIRST,
        limits: StoreLimits = BOUNDS,
        retained: dict[str, Message | None] | None = None,
    ) -> Committed | Outdated:
        """Commit changes as a node that knows all of the routes and has lost nobody."""
        standing = Standing(0, int(self._client.get(schema.ROUTES_VERSION) or 0), read_to.decode())
        self._socket.sendall(
            self.log.request(number, [], (retained or {}).items(), list(changes), standing, 1_000, limits)
        )
        return self.log.read_replies([read_reply(self)])

    def adopt(self, dead: StoredNode) -> list[bytes]:
        """Take over all clients of a node that is gone."""
        self._client.execute_command(*cluster.bury_command(dead.name, 0))
        has_more, taken = 1, []
        while has_more:
            has_more, page = self._client.execute_command(*cluster.adopt_command(dead.name, self.name))
            taken += page
        return taken

    @property
    def wills(self) -> set[bytes]:
        """Kind and client of each will that the node has: `c` of a client it serves, `d` that is due."""
        return set(self._client.hkeys(schema.of_node("wills", self.name)))

    def close(self) -> None:
        self._socket.close()


def read_reply(node: StoredNode) -> Any:
    reader = hiredis.Reader()
    while (reply := reader.gets()) is False:
        reader.feed(node._socket.recv(65_536))
    return reply


@pytest.fixture
def node(cluster_store: EmbeddedValkey) -> Iterator[Callable[[str], StoredNode]]:
    """Make nodes by name."""
    made: list[StoredNode] = []
    with redis.Redis(unix_socket_path=cluster_store.url.removeprefix("unix://")) as client:
        for source in (COMMIT.source, *SCRIPTS):
            client.script_load(source)

        def make(name: str) -> StoredNode:
            made.append(StoredNode(name, cluster_store, client))
            return made[-1]

        yield make
        for each in made:
            each.close()


def messages(committed: Committed | Outdated) -> list[Message]:
    return [
        message
        for each in cluster.read_inbox(committed.inbox)
        if each.entry is not None
        for message in each.entry.messages
    ]


def numbered(count: int) -> list[Message]:
    return [Message("t", "publisher", 1_000, 1, b"%d" % number) for number in range(count)]


def test_a_repeated_commit_brings_what_was_in_the_inbox_before_its_first_try(node: Callable[[str], StoredNode]):
    """And nothing behind it: a publisher that changed nodes before and after stays in order."""
    here, there = node("here"), node("there")
    before, after = numbered(2)
    there.commit(1, cluster.deliver("here", InboxEntry([before])))
    assert messages(here.commit(1)) == [before]  # this answer is lost
    there.commit(2, cluster.deliver("here", InboxEntry([after])))
    assert messages(here.commit(1)) == [before]
    assert messages(here.commit(2)) == [before, after]


def test_a_commit_waits_until_all_of_the_inbox_was_read(node: Callable[[str], StoredNode]):
    here, there = node("here"), node("there")
    sent = numbered(INBOX_PAGE + 1)
    there.commit(1, *(cluster.deliver("here", InboxEntry([each])) for each in sent))
    page = here.commit(1)
    assert isinstance(page, Outdated)
    assert messages(page) == sent[:INBOX_PAGE]
    rest = here.commit(1, read_to=page.inbox[-1][0])
    assert isinstance(rest, Committed)
    assert messages(rest) == sent[INBOX_PAGE:]


def test_an_adopted_will_without_delay_is_due_at_once(node: Callable[[str], StoredNode]):
    """Whether its client connects to the adopter before this one knows of it or not."""
    adopter, dead = node("adopter"), node("dead")
    dead.commit(1, cluster.own("client", is_new=False), cluster.set_will("dead", "client", StoredWill(MESSAGE, 0)))
    assert adopter.adopt(dead) == [b"client"]
    assert adopter.wills == {b"d:client"}
    committed = adopter.commit(1, cluster.own("client", is_new=False))
    assert [each.will for each in cluster.read_inbox(committed.inbox)] == [("client", StoredWill(MESSAGE, 0))]
    assert dead.wills == set()


@pytest.mark.parametrize(("is_new", "left"), [(False, set()), (True, {b"d:client"})])
def test_a_client_that_connects_to_its_adopter_cancels_a_delayed_will(
    node: Callable[[str], StoredNode], is_new: bool, left: set[bytes]
):
    """[v5 MQTT-3.1.3-9] Unless its session begins anew, which ends the one that the will belongs to."""
    adopter, dead = node("adopter"), node("dead")
    dead.commit(1, cluster.own("client", is_new=False), cluster.set_will("dead", "client", StoredWill(MESSAGE, 60)))
    adopter.adopt(dead)
    assert adopter.wills == {b"c:client"}
    adopter.commit(1, cluster.own("client", is_new=is_new))
    assert adopter.wills == left


def test_what_members_of_groups_were_to_get_is_inherited_with_a_dead_nodes_clients(node: Callable[[str], StoredNode]):
    """Once, though the adopter dies too; what was for others stays behind."""
    dying, adopter, last = node("dying"), node("adopter"), node("last")
    shared, plain = numbered(2)
    entry = QueueEntry(shared, 1, is_retain=False, shared_filter="$share/g/t")
    dying.commit(
        1,
        *session_store.create("member", 60, "token"),
        cluster.deliver("dying", InboxEntry([plain])),
        cluster.deliver("dying", InboxEntry([plain, shared], [0], [(1, "$share/g/t")])),
        Enqueue("member", session_store.encode_entry(entry), 1_000),
        cluster.pass_on("member"),
    )
    adopter.adopt(dying)
    last.adopt(adopter)
    inboxed = cluster.read_inbox(last.commit(1).inbox)
    assert [each.left for each in inboxed if each.left is not None] == [[(entry, False)]]
    handed_on = [each.entry for each in inboxed if each.entry is not None]
    assert handed_on == [InboxEntry([plain, shared], [], [(1, "$share/g/t")])]
    assert last.adopt(dying) == []


def test_a_full_inbox_is_counted_and_its_node_is_told(node: Callable[[str], StoredNode]):
    here, there = node("here"), node("there")
    sent = numbered(10)
    one = cluster.deliver("here", InboxEntry([sent[0]]))
    limits = BOUNDS._replace(inbox_bytes=4 * len(one.entry))
    there.commit(1, *(cluster.deliver("here", InboxEntry([each])) for each in sent), limits=limits)
    committed = here.commit(1)
    assert messages(committed) == sent[:4]
    assert committed.missed == 6
    here.commit(2, cluster.read_up_to(committed.inbox), read_to=committed.inbox[-1][0])
    there.commit(2, one, limits=limits)
    again = here.commit(3, read_to=committed.inbox[-1][0])
    assert messages(again) == sent[:1]
    assert again.missed == 6


def test_changes_of_the_routes_have_a_bound_in_bytes(node: Callable[[str], StoredNode], cluster_store: EmbeddedValkey):
    here, there = node("here"), node("there")
    limits = BOUNDS._replace(routes_bytes=10_000)
    filters = [cluster.session_filter("here", "client", f"{number}/" + "x" * 1_000, None) for number in range(50)]
    here.commit(1, *filters, limits=limits)
    with redis.Redis(unix_socket_path=cluster_store.url.removeprefix("unix://")) as client:
        kept = client.xrange(schema.ROUTES)
        assert 5 <= len(kept) < 10
        assert int(client.hget(schema.ACCOUNTS, "routes")) == sum(len(fields[b"c"]) for _, fields in kept)
    there._socket.sendall(there.log.request(1, [], (), [], Standing(0, 0, "0-1"), 1_000, limits))
    outdated = there.log.read_replies([read_reply(there)])
    assert isinstance(outdated, Outdated)
    assert outdated.changes is None  # it reads them all anew


def test_queues_of_all_sessions_have_a_bound_and_small_ones_the_last_eighth(
    node: Callable[[str], StoredNode], cluster_store: EmbeddedValkey
):
    here = node("here")
    limits = BOUNDS._replace(queues_bytes=800_000)
    large = session_store.encode_entry(QueueEntry(Message("t", "p", 1_000, 1, b"x" * 9_000), 1, False))
    small = session_store.encode_entry(QueueEntry(MESSAGE, 1, False))
    with_room = CommitLog("here", is_fsynced=False, **{**LIMITS, "queue_messages": 1_000, "queue_bytes": 10_000_000})
    here.log = with_room
    changes = [*session_store.create("large", 60, "a"), *session_store.create("small", 60, "b")]
    committed = here.commit(1, *changes, *(Enqueue("large", large, 1_000) for _ in range(100)), limits=limits)
    taken = sum(number > 0 for number in committed.sequence_numbers)
    assert 700_000 - len(large) < taken * len(large) <= 700_000
    assert here.commit(2, Enqueue("small", small, 1_000), limits=limits).sequence_numbers == [1]
    here.commit(3, *cluster.end_session("here", "large"), limits=limits)
    with redis.Redis(unix_socket_path=cluster_store.url.removeprefix("unix://")) as client:
        assert int(client.hget(schema.ACCOUNTS, "queues")) == len(small)


def test_a_retained_copy_is_queued_only_while_it_is_the_one_that_is_retained(node: Callable[[str], StoredNode]):
    here = node("here")
    here.commit(1, *session_store.create("client", 60, "token"), retained={"t": MESSAGE})
    entry = session_store.encode_entry(QueueEntry(MESSAGE, 1, True))
    copy = EnqueueRetained("client", entry, 1_000, "t", 1)
    assert here.commit(2, copy).sequence_numbers == [1]
    newer = here.commit(3, copy, retained={"t": numbered(1)[0]})
    assert newer.sequence_numbers == [-2]
    assert newer.retained_version == 1
    assert here.commit(4, copy._replace(version=2)).sequence_numbers == [2]
    assert here.commit(5, copy._replace(version=2), retained={"t": None}).sequence_numbers == [-2]


def test_subscriptions_that_were_stored_as_one_list_are_read(cluster_store: EmbeddedValkey):
    with redis.Redis(unix_socket_path=cluster_store.url.removeprefix("unix://")) as client:
        client.script_load(session_store.READ_SESSIONS.source)
        client.hset(
            schema.session("old"),
            mapping={"expiry": 60, "subscriptions": '[["a/#",1,false,true,2,7],["b",0,true,false,0,0]]'},
        )
        client.zadd(schema.SESSIONS, {"old": 1_000})
        for _ in range(2):
            page = client.execute_command(*session_store.read_sessions_command(["old", "nobody"]))
            (found,) = session_store.sessions_of(["old", "nobody"], page)
            assert found.subscriptions == {"a/#": (1, False, True, 2, 7), "b": (0, True, False, 0, 0)}
        assert not client.hexists(schema.session("old"), "subscriptions")
