"""One connected client: what each of its packets does. No socket here; `Network` is what it needs of one.

receive -> packet -> handler -> committer, session, tree
acknowledge_publish <- committer (the message is stored)
send <- session (a delivery)
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from broker.accounts import Holder
from broker.protocol.connection import ServerConnection
from broker.session.connecting import connect, may_publish
from broker.session.retained_lookup import RetainedSender
from broker.session.subscribing import subscribe, unsubscribe
from broker.session.wills import forwarded_properties
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.reason_codes import ReasonCode
from broker.wire.subscribe import Subscribe
from broker.wire.unsubscribe import Unsubscribe
from store.model import DUP_FLAG, RETAIN_FLAG, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.host.plugin_client import PluginClient
    from broker.protocol.fast_publish import KnownTopics
    from broker.protocol.receive_buffer import ReceiveBuffers
    from broker.session.delivery_gate import DeliveryGate
    from broker.session.message_broker import MessageBroker
    from broker.session.network import Network
    from broker.session.packet_gate import PacketGate
    from broker.session.retained_lookup import Granted, RetainedLookup
    from broker.session.session import Session
    from broker.wire.codec import Answer, Packet
    from broker.wire.connack import Connack

log = logging.getLogger(__name__)

MOST_LOOKUPS = 1000
"""Subscriptions of one client whose retained messages are still to be sent; beyond it the client is not read."""
MOST_TOPICS = 1000
TOPIC_BYTES = 100  # of a topic name that is remembered, besides its string
NO_TASKS: set[asyncio.Task[None]] = set()
NO_TOPICS: set[str] = set()  # of those that have not published yet


class Client:
    """One network connection and, from CONNECT on, the session behind it."""

    __slots__ = (
        "_is_accepted",
        "_is_leaving",
        "_is_lost",
        "_names",
        "_received_ms",
        "_tasks",
        "_topics",
        "broker",
        "delivery_gate",
        "is_closing",
        "network",
        "packet_gate",
        "plugins",
        "protocol",
        "retained",
        "retained_lookups",
        "session",
    )

    def __init__(
        self, broker: MessageBroker, network: Network, known_topics: KnownTopics, receive_buffers: ReceiveBuffers
    ) -> None:
        self.broker = broker
        self.network = network
        self._received_ms = 0
        self._names = Holder(broker.plan.names)
        self._topics: set[str] = NO_TOPICS
        self._tasks: set[asyncio.Task[None]] = NO_TASKS
        self._is_accepted = self._is_lost = False
        self.protocol = ServerConnection(broker.limits, known_topics, receive_buffers, broker.monotonic(), self._names)
        self.session: Session | None = None
        self.retained: RetainedSender | None = None
        self.retained_lookups: set[RetainedLookup] | tuple[()] = ()
        self._is_leaving = False
        self.is_closing = False
        self.plugins: PluginClient | None = None
        self.packet_gate: PacketGate | None = None
        self.delivery_gate: DeliveryGate | None = None

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes more without its buffer growing past its bound."""
        return self._is_accepted and self.network.is_writable

    def receive(self, data: bytes) -> None:
        """Act on received bytes."""
        broker = self.broker
        now = broker.monotonic()
        self._received_ms = broker.wall_ms()
        self._act_on(self.protocol.receive_data(data, now))

    def read_rest(self) -> None:
        """Act on the next slice of what was received (`ServerConnection.has_rest`)."""
        self._received_ms = self.broker.wall_ms()
        self._act_on(self.protocol.resume(self.broker.monotonic()))

    def _act_on(self, packets: list[Packet]) -> None:
        if self.packet_gate is not None:
            self.packet_gate.take(packets)
            return
        for packet in packets:
            self._HANDLERS[type(packet)](self, packet)
        self.acted_on_all()

    def act_on(self, packet: Packet) -> None:
        """Do what one packet asks for."""
        self._HANDLERS[type(packet)](self, packet)

    def acted_on_all(self) -> None:
        """End the connection where its end is what came last."""
        if self._is_lost and not self.protocol.has_rest:
            self._end()
        elif self.protocol.is_closed and not self.is_closing and not self._is_leaving:
            self._closed_by_protocol()

    def read_on(self) -> None:
        """Read from the socket again; that it was silent meanwhile was not the client's doing."""
        self.protocol.last_received = self.broker.monotonic()
        self.network.release_reading()

    def deadline(self) -> float:
        """Return when `time_out` is due; never while packets wait for plugins or for their turn."""
        is_asking = self.packet_gate is not None and self.packet_gate.is_asking
        return float("inf") if is_asking or self.protocol.has_rest else self.protocol.deadline()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what takes more than this loop turn; it is cancelled with the connection."""
        task = asyncio.get_running_loop().create_task(work)
        if not self._tasks:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._tasks = NO_TASKS
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A client's connection is closed because of a fault of the broker.", exc_info=error)
            self.close(ReasonCode.UNSPECIFIED_ERROR)

    def send(self, data: bytes | memoryview) -> None:
        """Send one encoded packet, or a part of it."""
        output = self.protocol.output
        if not output:
            self.network.wake()
        output.append(data)

    def answer(self, packet: Answer) -> None:
        """Send the answer to a packet."""
        if not self.is_closing:
            was_closed = self.protocol.is_closed  # by a packet that comes behind the one that is answered
            self.network.wake()
            self.protocol.answer(packet)
            if self.protocol.is_closed and not was_closed:
                self._closed_by_protocol()

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Tell the client that the message it sent is stored; on an earlier connection, perhaps: CONNACK comes first."""
        if self._is_accepted and not self.is_closing:
            if not self.protocol.output:
                self.network.wake()
            self.protocol.acknowledge_publish(packet_id, qos, reason_code)

    def time_out(self) -> None:
        """End the connection: CONNECT or a keep-alive did not come in time."""
        self.broker.counters.timeouts += 1
        self.protocol.time_out()
        self._closed_by_protocol()

    def close(self, reason_code: ReasonCode) -> None:
        """End the connection from the server's side."""
        if not self.is_closing:
            if not self._is_leaving:  # it has sent DISCONNECT: nothing may follow
                self.protocol.disconnect(reason_code)
            self._closed_by_protocol()

    def connection_lost(self) -> None:
        """Take note that the socket is gone: the will becomes due unless DISCONNECT had come before.

        What has been received and waits for its turn is acted on first.
        """
        self._is_lost = True
        self.protocol.forget_unread()
        is_asking = self.packet_gate is not None and self.packet_gate.is_asking
        if self.is_closing or not (is_asking or self.protocol.has_rest):
            self._end()

    def _end(self) -> None:
        self.is_closing = True
        self._names.refund_all()
        self._tell_plugins_of_end()
        for task in self._tasks:
            task.cancel()
        # They refer to this client, and to the credentials and the will of its CONNECT.
        self.packet_gate = self.delivery_gate = None
        session, self.session = self.session, None
        if session is not None:
            current = self.broker.sessions.get(session.client_id)
            if current is None or current.attachment in (None, self):  # else another connection here has taken it over
                self.broker.presence.disconnected(session.client_id)
            self.broker.sessions.detach(session, self, self.broker.monotonic())

    def can_write(self) -> None:
        """Go on sending what waited for the socket."""
        if self.session is not None:
            self.session.send_queued(self.broker.monotonic())

    def _tell_plugins_of_end(self) -> None:
        plugins, self.plugins = self.plugins, None
        if plugins is not None and self._is_accepted:
            plugins.disconnected()

    def _closed_by_protocol(self) -> None:
        self.is_closing = True
        self._tell_plugins_of_end()
        reason = self.protocol.close_reason
        if reason is not None:
            reasons = self.broker.counters.reasons
            reasons[reason.name] = reasons.get(reason.name, 0) + 1
            if reason in (ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR):
                self.broker.counters.protocol_errors += 1
        self.network.close()

    # --- CONNECT (§3.1)

    def _on_connect(self, packet: Connect) -> None:
        self.network.hold_reading()  # what comes behind it would only collect
        self.start(connect(self, self.broker, packet))

    def accept(self, connack: Connack, keep_alive_s: int) -> None:
        """Answer CONNECT with success, send what waited for the client, and go on reading, behind CONNECT first."""
        self.network.wake()
        self.protocol.accept(connack, keep_alive_s)
        if self.protocol.is_closed:
            if self.session is not None:
                self.broker.sessions.set_will(self.session, None)
            self._closed_by_protocol()
            return
        self._is_accepted = True
        if self.plugins is not None:
            self.plugins.connected()
        if self.session is not None:
            self.session.send_queued(self.broker.monotonic())
        self.read_on()
        if self.protocol.has_rest:
            self.read_rest()

    def reject(self, reason_code: ReasonCode) -> None:
        """Answer CONNECT with a refusal and close."""
        self.broker.counters.connects_rejected += 1
        self.protocol.reject(reason_code)
        self._closed_by_protocol()

    # --- PUBLISH in (§3.3, §4.3)

    def _on_publish(self, packet: Publish) -> None:
        session, qos, topic_name = self.session, packet.qos, packet.topic_name
        if session is None or self.is_closing:
            return
        if topic_name[0] == "$" and not may_publish(self.broker, topic_name):
            self.deny(packet)
            return
        if topic_name not in self._topics:
            self._first_publish_to(topic_name)
        flags = qos | (RETAIN_FLAG if packet.is_retain else 0) | (DUP_FLAG if packet.is_dup else 0)
        properties = forwarded_properties(packet.properties) if packet.properties else b""
        message = Message(topic_name, session.client_id, self._received_ms, flags, packet.payload, properties)
        if qos == 0:
            self.broker.committer.add(message)
        elif qos == 1:
            self.broker.committer.add(message, self, packet.packet_id)
        elif len(session.received) >= self.broker.limits.receive_maximum and packet.packet_id not in session.received:
            self.close(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)
        elif session.receive_once(packet.packet_id):
            operations = session.receive_operations(packet.packet_id)
            self.broker.committer.add(message, session, packet.packet_id, operations)

    def _first_publish_to(self, topic_name: str) -> None:
        """Tell who is asked which devices are connected; again with each message where the name cannot be remembered."""
        if len(self._topics) < MOST_TOPICS and self._names.charge(sys.getsizeof(topic_name) + TOPIC_BYTES):
            if not self._topics:
                self._topics = set()
            self._topics.add(topic_name)
        if self.session is not None:
            self.broker.presence.published(self.session.client_id, topic_name)

    def deny(self, packet: Publish) -> None:
        """Refuse a message. QoS 0 is dropped and counted: it has no answer in any version.

        Before MQTT 5 there is no refusal, and an acknowledgement would say «stored»: close [v3.1.1 MQTT-3.3.5-2].
        """
        self.broker.counters.publishes_denied += 1
        if packet.qos and not self.protocol.is_v5:
            self.close(ReasonCode.NOT_AUTHORIZED)
        elif packet.qos:
            self.network.wake()
            self.protocol.acknowledge_publish(packet.packet_id, packet.qos, ReasonCode.NOT_AUTHORIZED)

    def _on_pubrel(self, packet: Pubrel) -> None:
        if self.session is not None:
            self.session.release(packet.packet_id, partial(self._complete_publish, packet.packet_id))

    def _complete_publish(self, packet_id: int) -> None:
        if not self.is_closing:
            self.network.wake()
            self.protocol.complete_publish(packet_id)

    # --- the client's answers to what was sent

    def _on_puback(self, packet: Puback) -> None:
        if self.session is not None:
            self.session.acknowledged(packet.packet_id, 1, self.broker.monotonic())

    def _on_pubrec(self, packet: Pubrec) -> None:
        if self.session is not None:
            self.session.pubrec(packet.packet_id, packet.reason_code, self.broker.monotonic())

    def _on_pubcomp(self, packet: Pubcomp) -> None:
        if self.session is not None:
            self.session.acknowledged(packet.packet_id, 2, self.broker.monotonic())

    # --- SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10)

    def _on_subscribe(self, packet: Subscribe) -> None:
        if self.session is not None:
            subscribe(self, self.broker, self.session, packet)

    def _on_unsubscribe(self, packet: Unsubscribe) -> None:
        if self.session is not None:
            unsubscribe(self, self.broker, self.session, packet)

    def begin_lookup(self, lookup: RetainedLookup) -> None:
        """Have a look-up told of retained messages that come live, until its subscription is stored."""
        if not self.retained_lookups:
            self.retained_lookups = set()
        self.retained_lookups.add(lookup)

    def end_lookup(self, lookup: RetainedLookup) -> None:
        """What comes live from now on is newer than what is looked up."""
        if self.retained_lookups:
            self.retained_lookups.discard(lookup)
        self.retained_lookups = self.retained_lookups or ()

    def send_retained(self, subscriptions: list[Granted], lookup: RetainedLookup, retained_version: int) -> None:
        """Send the retained messages of new subscriptions; a client that asks for many waits before it is read on."""
        lookup.retained_version = retained_version
        if self.retained is None:
            self.retained = RetainedSender(self)
        self.retained.add(subscriptions, lookup)
        if len(self.retained) > MOST_LOOKUPS:
            self.network.hold_reading()

    def retained_sent(self) -> None:
        """Read on once the retained messages of enough subscriptions are sent."""
        left = 0 if self.retained is None else len(self.retained)
        if left == MOST_LOOKUPS and not self._is_leaving:
            self.read_on()
        elif not left:
            self.retained = None

    async def room(self) -> None:
        """Return after the next sign of progress: the peer has taken or sent something."""
        await self.network.room()

    # --- DISCONNECT (§3.14)

    def _on_disconnect(self, packet: Disconnect) -> None:
        session = self.session
        if session is None:
            return
        expiry = packet.properties.get("session_expiry_interval")
        if expiry and not session.expiry_interval_s:
            self.protocol.violated(ReasonCode.PROTOCOL_ERROR)  # [v5 MQTT-3.1.2-23]
            return
        if expiry is not None:
            session.expiry_interval_s = min(expiry, self.broker.max_session_expiry_s)
        if packet.reason_code == ReasonCode.NORMAL_DISCONNECTION and session.will is not None:
            # [v5 MQTT-3.14.4-3] Stored first, then closed: a node that dies in between must not have its will published.
            self._is_leaving = True
            self.network.hold_reading()
            self.broker.sessions.clear_will(session, self._left)

    def _left(self) -> None:
        self._is_leaving = False
        if not self._is_lost:
            self.acted_on_all()

    # --- which packet does what

    _HANDLERS: ClassVar[dict[type[Packet], Callable[..., None]]] = {
        Connect: _on_connect,
        Publish: _on_publish,
        Puback: _on_puback,
        Pubrec: _on_pubrec,
        Pubrel: _on_pubrel,
        Pubcomp: _on_pubcomp,
        Subscribe: _on_subscribe,
        Unsubscribe: _on_unsubscribe,
        Disconnect: _on_disconnect,
    }
