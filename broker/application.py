"""The `tcp` process as a whole: its parts, put together from the settings, and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import hiredis
import redis

import broker
from broker.bounds import Bound, Bounds
from broker.child import children
from broker.cluster.membership import SCRIPTS, Membership
from broker.cluster.node import Node, cluster_totals, new_node_id
from broker.cluster.presence import NodePresence
from broker.commit.committer import Committer
from broker.commit.room import Room
from broker.deadline import Deadline
from broker.host.authentication import PasswordAuthenticator
from broker.host.interface import Event, PluginConfigurationError
from broker.memory_plan import MemoryPlan
from broker.memory_trim import memory_trim
from broker.net.door import Doors
from broker.net.server import Server
from broker.projector.lag import Lag
from broker.protocol.limits import ConnectionLimits
from broker.session.handover import Handover
from broker.session.lasting_session import Backing
from broker.session.message_broker import MessageBroker
from broker.session.plugin_port import PluginPort, tell_stored
from broker.session.session import SessionLimits
from broker.start import BAD_SETTINGS_STATUS, FAILED_STATUS, cancel, watch_parent
from broker.sys_topics import SysTopics
from settings import SettingsError
from store.clock import wall_ms
from store.commit_log import COMMIT, FREEING_COMMIT, INBOX_BYTES, CommitLog, StoreLimits
from store.connection import connect, connect_async
from store.health import store_status
from store.link import LinkDownError, StoreLink
from store.log_trimming import LogTrimming
from store.memory import log_bound
from store.model import DeviceNaming
from store.retained import RetainedMessages

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broker.commit.batch import Batch
    from broker.host.plugin_host import PluginHost
    from settings import Settings
    from store.answers import StoreStatus

log = logging.getLogger(__name__)

FENCED = -1
STOP_TIMEOUT_S = 12.0  # for all steps of a stop together: a worker has 20 s, a container 30 s
STORE_TIMEOUT_S, CLOSE_TIMEOUT_S, PLUGINS_TIMEOUT_S = 4.0, 3.0, 3.0
CANCEL_TIMEOUT_S, LEAVE_TIMEOUT_S = 2.0, 1.0
LEAST_S = 0.5  # what every step has, however late it is
STORE_STATUS_TIMEOUT_S = 2.0
UNBOUNDED_BYTES = 1 << 62


class Application:
    """Builds the parts inside a running event loop and runs them until a signal ends the process."""

    def __init__(self, settings: Settings, *, is_worker: bool = False) -> None:
        """`is_worker`: one of several on the same port, whose parent holds standard input and runs what is beside them."""
        self._settings = settings
        self._is_worker = is_worker
        self._node_id = new_node_id()
        self._started_ms = wall_ms()
        self._stopping = asyncio.Event()
        self._fenced = asyncio.Event()
        self._is_told_to_stop = self._has_failed = False
        self._has_looked_at_store = False
        self._clients: list[redis.asyncio.Redis] = []
        self._background: asyncio.Task[None] | None = None
        self._plugins: PluginHost | None = None
        self._do_plugins_hear_stored = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns the exit status: 0 after an orderly end, 1 if it could not listen or a part of it failed, 2 if a setting
        cannot be honoured; FENCED if the other nodes have declared this one dead: it may join them anew, with nothing of
        what it was.
        """
        try:
            self._doors = Doors.of(self._settings)
            self._build()
            self._load_plugins()
        except (SettingsError, PluginConfigurationError) as error:
            for problem in error.problems:
                log.error("%s", problem)  # noqa: TRY400  one line; where it was found helps nobody
            return BAD_SETTINGS_STATUS
        if not self._is_worker and (warning := self._plan.warning(self._settings.container_memory)):
            log.warning("%s", warning)
        try:
            return await self._run()
        finally:
            if self._plugins is not None:
                await self._plugins.stop()

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self._is_worker:
            await watch_parent(self._stop)
        settings = self._settings
        if self._plugins is not None:
            await self._plugins.start()
        try:
            await self._server.listen(settings.host, settings.port, is_shared=self._is_worker)
        except OSError as error:
            log.error("Cannot listen on %s:%s: %s", settings.host, settings.port, error.strerror or error)  # noqa: TRY400
            return FAILED_STATUS
        log.info("Listening on %s:%s as node %s.", settings.host, settings.port, self._node_id)
        await self._serve()
        if self._has_failed:
            log.error("Stopped because a part of the broker failed; the error is above.")
            return FAILED_STATUS
        if self._fenced.is_set() and not self._is_told_to_stop:
            return FENCED
        log.info("Stopped.")
        return 0

    def _build(self) -> None:
        settings = self._settings
        self._plan = MemoryPlan.of(settings)
        self._presence = NodePresence(self._node_id, DeviceNaming(settings.device_topics), wall_ms, self._plan.names)
        self._link = StoreLink(
            settings.redis_url, (COMMIT.source, FREEING_COMMIT.source, *SCRIPTS), on_up=self._link_is_up
        )
        self._reader = StoreLink(settings.redis_url, log_level=logging.DEBUG)
        self._membership = Membership(self._node_id, self._link, self._reader, settings.node_timeout_s, self._on_fenced)
        self._broker = MessageBroker(
            node_id=self._node_id,
            connection_limits=_connection_limits(settings),
            session_limits=_session_limits(settings),
            max_sessions=settings.max_sessions,
            max_session_expiry_s=settings.max_session_expiry_s,
            authenticator=PasswordAuthenticator(
                settings.mqtt_username, settings.mqtt_password, allow_anonymous=settings.allow_anonymous
            ),
            presence=self._presence,
            plan=self._plan,
        )
        self._server = Server(
            self._broker,
            self._doors,
            max_connections=settings.max_connections,
            receive_buffer_bytes=settings.receive_buffer_bytes,
            send_buffer_bytes=settings.send_buffer_bytes,
            send_timeout_s=settings.send_timeout_s,
        )
        received = Bound.of(self._server.receive_buffers, "RECEIVE_BUFFER_BYTES")
        self._bounds = Bounds([*map(Bound.of, self._plan), received])
        self._membership.routes = self._broker.routes
        self._membership.clients = Handover(self._broker, self._node_id, self._link)
        self._room = Room(self._new_client(), settings.store_bytes)
        self._lag = Lag(LogTrimming(self._new_client(), settings, self._link), wall_ms)
        self._committer = self._broker.committer = Committer(
            self._link,
            CommitLog(
                self._node_id,
                is_fsynced=settings.ack_after == "disk",
                max_retained=settings.retained_messages,
                queue_messages=settings.queue_messages,
                queue_bytes=settings.queue_bytes,
                queue_age_s=settings.queue_age_s,
            ),
            batch_messages=settings.batch_messages,
            batch_bytes=settings.batch_bytes,
            backlog_bytes=settings.backlog_bytes,
            prepare=self._broker.prepare,
            on_stored=self._stored,
            on_congestion=lambda is_congested: self._server.set_reading(is_reading=not is_congested),
            peers=self._membership,
            now_ms=wall_ms,
            admits_messages=self._admits_messages,
            store_limits=self._store_limits,
            fan_out=self._broker.tree,
        )
        self._broker.retained = RetainedMessages(self._link)
        self._broker.sessions.backing = Backing(
            self._committer, self._link, self._broker.monotonic, self._broker.wall_ms, self._broker.outgoing
        )
        self._node = Node(self._node_id, self._new_client(), self._presence, self._describe, wall_ms)
        self._sys_topics = SysTopics(
            self._broker,
            self._committer,
            self._server,
            self._room,
            self._bounds,
            self._membership.refusal,
            lambda: self._lag.ms,
            self._started_ms,
            partial(cluster_totals, self._new_client(), wall_ms),
        )

    def _new_client(self) -> redis.asyncio.Redis:
        """Return a client of the store for one task: in a cluster, tasks cannot share one (`store/redis_cluster.py`)."""
        self._clients.append(connect_async(self._settings, retries=0))
        return self._clients[-1]

    def _load_plugins(self) -> None:
        """Load what BROKER_CONFIG names; without it no part of amqtt is imported. Raises PluginConfigurationError."""
        settings = self._settings
        if not settings.broker_config:
            return
        from broker.host.plugin_host import PluginHost  # noqa: PLC0415

        port = PluginPort(self._broker)
        self._plugins = self._broker.plugins = PluginHost.load(settings.broker_config, port, settings.plugin_timeout_s)
        self._do_plugins_hear_stored = any(
            self._plugins.listens(event) for event in (Event.MESSAGE_BROADCAST, Event.RETAINED_MESSAGE)
        )

    def _link_is_up(self) -> None:
        self._committer.link_is_up()
        self._broker.sessions.send_queued(self._broker.monotonic())
        if not self._has_looked_at_store:
            self._has_looked_at_store = True
            self._background = asyncio.create_task(self._look_at_store())

    async def _look_at_store(self) -> None:
        """Say once what an operator should change about the store: no persistence, eviction, little memory left."""
        with contextlib.suppress(redis.RedisError):
            status = await asyncio.to_thread(_store_status, self._settings)
            for warning in status.warnings:
                log.warning("Store: %s", warning)

    def _admits_messages(self) -> bool:
        """Whether messages may be stored: they wait for memory, and for views or a long history that lag too far."""
        is_late = self._lag.bytes > log_bound(self._room.memory, self._settings.log_max_bytes)
        return not self._room.is_full and not is_late

    def _store_limits(self) -> StoreLimits:
        """Return what the store keeps at most: what settings say, and no more than a part of what Redis may use."""
        share_bytes = self._room.memory.budget_bytes // 8 or UNBOUNDED_BYTES
        settings = self._settings
        return StoreLimits(
            min(settings.retained_bytes, share_bytes),
            min(settings.queues_bytes, share_bytes),
            min(INBOX_BYTES, share_bytes // 2),
        )

    def _stored(self, batch: Batch, sequence_numbers: list[int] | None) -> None:
        self._broker.stored(batch, sequence_numbers)
        self._server.flush()
        self._server.read_publishers()
        if self._plugins is not None and self._do_plugins_hear_stored:
            tell_stored(self._plugins, batch.messages)

    def _stop(self) -> None:
        self._is_told_to_stop = True
        self._stopping.set()

    def _on_fenced(self) -> None:
        self._fenced.set()
        self._stopping.set()

    async def _serve(self) -> None:
        runs: tuple[Coroutine[Any, Any, None], ...] = (
            self._link.run(),
            self._reader.run(),
            self._membership.run(),
            *(() if self._is_worker else (child.run() for child in children(self._settings))),
            self._lag.run(),
            self._room.run(),
            self._bounds.run(),
            self._broker.refusals.run(),
            *(() if (trim := memory_trim(self._held_bytes)) is None else (trim.run(),)),
            self._node.run(),
            self._server.sweep_forever(),
            self._sys_topics.run(),
        )
        tasks = [asyncio.create_task(run) for run in runs]
        for task in tasks:
            task.add_done_callback(self._part_ended)
        if self._plugins is not None:
            await self._plugins.serving()
        await self._stopping.wait()
        deadline = Deadline(STOP_TIMEOUT_S)
        self._server.stop_listening()
        if self._fenced.is_set():
            await self._server.close_connections()  # nothing that they sent can be acknowledged here any more
        else:
            await self._drain(deadline)
            with contextlib.suppress(TimeoutError, LinkDownError, hiredis.HiredisError):
                await asyncio.wait_for(self._membership.leave(), deadline.left_s(LEAVE_TIMEOUT_S, LEAST_S))
        link, *others = tasks
        for some in (others, (link,)):  # the store's connection last
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(cancel(*some), deadline.left_s(CANCEL_TIMEOUT_S, LEAST_S))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._node.leave(), deadline.left_s(LEAVE_TIMEOUT_S, LEAST_S))
        for client in self._clients:
            await client.aclose()  # another node may follow in this process

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("A part of the broker failed; stopping.", exc_info=task.exception())
            self._has_failed = True
            self._stopping.set()

    async def _drain(self, deadline: Deadline) -> None:
        """Commit what was received, acknowledge it, disconnect clients, and store the wills that brings."""
        log.info("Stopping: finishing the commit under way, closing %d connections.", len(self._server.connections))
        self._server.stop_reading()
        self._broker.routes.is_leaving = True
        if self._plugins is not None:
            await self._plugins.draining(deadline.left_s(PLUGINS_TIMEOUT_S))
        await self._store_rest(deadline)
        await self._server.close_connections(deadline.left_s(CLOSE_TIMEOUT_S, LEAST_S))
        if self._plugins is not None:
            await self._plugins.stop(
                deadline.left_s(PLUGINS_TIMEOUT_S)
            )  # what they still publish is in the last commit
        await self._store_rest(deadline)

    async def _store_rest(self, deadline: Deadline) -> None:
        """Wait for the store to take what is left; not where the other nodes have declared this one dead: it never will."""
        drained = asyncio.create_task(self._committer.drain())
        fenced = asyncio.create_task(self._fenced.wait())
        timeout_s = deadline.left_s(STORE_TIMEOUT_S, LEAST_S)
        done, _ = await asyncio.wait((drained, fenced), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        await cancel(drained, fenced)
        if not done:
            log.warning("The store did not take what was left; it was not acknowledged, so its senders send it again.")

    def _held_bytes(self) -> int:
        """Return what clients make this process hold."""
        accounts = sum(each.used_bytes for each in self._plan)
        return accounts + self._committer.backlog_bytes + self._server.receive_buffers.used_bytes

    def _describe(self) -> dict[str, str | int]:
        counters, committer = self._broker.counters, self._committer
        return {
            "container": self._settings.container,
            "version": broker.__version__,
            "started_ms": self._started_ms,
            "connections": len(self._server.connections),
            "sessions": len(self._broker.sessions),
            "subscriptions": self._broker.tree.count - self._broker.routes.count,
            "messages_received": counters.messages_received,
            "messages_delivered": counters.messages_delivered,
            "messages_dropped": counters.messages_dropped + committer.dropped,
            "publishes_denied": counters.publishes_denied,
            "inbox_messages_missed": counters.inbox_messages_missed,
            "connects_rejected": counters.connects_rejected,
            "connections_refused": counters.connections_refused,
            "descriptors_refused": self._server.descriptors.refused,
            "protocol_errors": counters.protocol_errors,
            "timeouts": counters.timeouts,
            **self._bounds.node_values(),
            **self._broker.refusals.node_values(),
            "slow_clients_dropped": counters.slow_clients_dropped,
            **asdict(self._doors.counts),
            "retained_refused": committer.refused_retained,
            "commits": committer.commits,
            "plugin_events_dropped": 0 if self._plugins is None else self._plugins.dropped_events,
            "backlog_bytes": committer.backlog_bytes,
            "is_congested": int(committer.is_congested),
            "is_store_full": int(self._room.is_full),
        }


def _store_status(settings: Settings) -> StoreStatus:
    with connect(settings, timeout_s=STORE_STATUS_TIMEOUT_S, retries=0) as client:  # a stop waits for this thread
        return store_status(client, settings.store_bytes, wall_ms())


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        max_packet_bytes=settings.max_packet_bytes,
        connect_timeout_s=settings.connect_timeout_s,
        max_keep_alive_s=settings.max_keep_alive_s,
        receive_maximum=settings.receive_maximum,
        max_topic_levels=settings.max_topic_levels,
        max_client_id_bytes=settings.max_client_id_bytes,
    )


def _session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        send_window=settings.send_window,
        queue_messages=settings.queue_messages,
        queue_bytes=settings.queue_bytes,
        queue_age_s=settings.queue_age_s,
        max_subscriptions=settings.max_subscriptions,
    )
