"""One connected client: what each of its packets does. No socket here; `Network` is what it needs of one.

receive -> packet -> handler -> committer, session, tree
acknowledge_publish <- committer (the message is stored)
send <- session (a delivery)
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol
from uuid import uuid4

from broker.protocol.connection import ServerConnection
from broker.protocol.limits import TOPIC_ALIAS_MAXIMUM
from broker.routing.subscription_tree import SubscriptionOptions
from broker.routing.topic_filter import is_valid_topic_filter, is_wildcard, literal_prefix, matches
from broker.session.message_broker import forwarded_properties
from broker.session.session import Delivery, Session
from broker.session.sessions import TooManySessionsError
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.packet_types import ProtocolVersion
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.reason_codes import CONNACK_RETURN_CODES, ReasonCode
from broker.wire.suback import Suback
from broker.wire.subscribe import Subscribe, Subscription
from broker.wire.unsuback import Unsuback
from broker.wire.unsubscribe import Unsubscribe
from store.link import LinkDownError
from store.model import DUP_FLAG, RETAIN_FLAG, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.protocol.fast_publish import KnownTopics
    from broker.session.message_broker import MessageBroker
    from broker.wire.codec import Packet
    from broker.wire.properties import Properties

log = logging.getLogger(__name__)

DEFAULT_RECEIVE_MAXIMUM = 65_535
RETAINED_RETRY_S = 0.5


class Network(Protocol):
    """The socket of a client, as far as the client cares."""

    is_writable: bool

    def wake(self) -> None:
        """Send what has been put into the client's output, at the end of this loop turn."""

    def close(self) -> None:
        """Send what is in the output, then close the socket."""

    async def room(self) -> None:
        """Return when the socket takes more."""


class Client:
    """One network connection and, from CONNECT on, the session behind it."""

    __slots__ = ("_broker", "_network", "_received_ms", "_retained", "_topics", "is_closing", "protocol", "session")

    def __init__(self, broker: MessageBroker, network: Network, known_topics: KnownTopics) -> None:
        self._broker = broker
        self._network = network
        self._received_ms = 0
        self._topics: set[str] = set()
        self._retained: set[asyncio.Task[None]] = set()
        self.protocol = ServerConnection(broker.limits, known_topics, broker.monotonic())
        self.session: Session | None = None
        self.is_closing = False

    @property
    def is_writable(self) -> bool:
        """Whether the socket takes more without its buffer growing past its bound."""
        return self._network.is_writable

    def receive(self, data: bytes) -> None:
        """Act on received bytes."""
        broker = self._broker
        now = broker.monotonic()
        self._received_ms = broker.wall_ms()
        packets = self.protocol.receive_data(data, now)
        while packets:
            for packet in packets:
                self._HANDLERS[type(packet)](self, packet)
            packets = self.protocol.resume(now) if type(packets[-1]) is Connect else []
        if self.protocol.is_closed and not self.is_closing:
            self._closed_by_protocol()

    def send(self, data: bytes) -> None:
        """Send one encoded packet."""
        output = self.protocol.output
        if not output:
            self._network.wake()
        output.append(data)

    def acknowledge_publish(self, packet_id: int, qos: int) -> None:
        """Tell the client that the message it sent is stored."""
        if not self.is_closing:
            if not self.protocol.output:
                self._network.wake()
            self.protocol.acknowledge_publish(packet_id, qos)

    def time_out(self) -> None:
        """End the connection: CONNECT or a keep-alive did not come in time."""
        self._broker.counters.timeouts += 1
        self.protocol.time_out()
        self._closed_by_protocol()

    def close(self, reason_code: ReasonCode) -> None:
        """End the connection from the server's side."""
        if not self.is_closing:
            self.protocol.disconnect(reason_code)
            self._closed_by_protocol()

    def connection_lost(self) -> None:
        """Take note that the socket is gone: the will becomes due unless DISCONNECT had come before."""
        self.is_closing = True
        for task in self._retained:
            task.cancel()
        session, self.session = self.session, None
        if session is not None and session.attachment is self:  # else another connection has taken it over
            self._broker.presence.disconnected(session.client_id)
            self._broker.sessions.detach(session, self, self._broker.monotonic())

    def can_write(self) -> None:
        """Go on sending what waited for the socket."""
        if self.session is not None:
            self.session.send_queued(self._broker.monotonic())

    def _closed_by_protocol(self) -> None:
        self.is_closing = True
        reason = self.protocol.close_reason
        if reason is not None:
            reasons = self._broker.counters.reasons
            reasons[reason.name] = reasons.get(reason.name, 0) + 1
            if reason in (ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR):
                self._broker.counters.protocol_errors += 1
        self._network.close()

    # --- CONNECT (§3.1)

    def _on_connect(self, packet: Connect) -> None:
        refusal, properties = self._judge(packet)
        if refusal is None:
            client_id = packet.client_id or f"auto-{uuid4().hex[:20]}"
            if not packet.client_id:
                properties["assigned_client_identifier"] = client_id  # [v5 MQTT-3.2.2-16]
            refusal = self._open_session(client_id, packet, properties)
        if refusal is not None:
            self._broker.counters.connects_rejected += 1
            self._reject(refusal)

    def _judge(self, packet: Connect) -> tuple[ReasonCode | None, Properties]:
        limits = self._broker.limits
        if not packet.client_id and not (
            self.protocol.is_v5 or (packet.clean_start and self.protocol.version is ProtocolVersion.V3_1_1)
        ):
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, {}  # [MQTT-3.1.3-8]; v3.1 §3.1 has no empty client id
        if len(packet.client_id.encode()) > limits.max_client_id_bytes:
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, {}
        if "authentication_method" in packet.properties:
            return ReasonCode.BAD_AUTHENTICATION_METHOD, {}  # [v5 MQTT-4.12.0-1]
        if not self._broker.authenticator.is_allowed(packet.username, packet.password):
            has_credentials = packet.username is not None
            return (ReasonCode.BAD_USER_NAME_OR_PASSWORD if has_credentials else ReasonCode.NOT_AUTHORIZED), {}
        if packet.will is not None and not self._may_publish(packet.will.topic_name):
            return ReasonCode.NOT_AUTHORIZED, {}
        return None, {}

    def _may_publish(self, topic_name: str) -> bool:
        return not topic_name.startswith("$SYS/") and topic_name.count("/") < self._broker.limits.max_topic_levels

    def _open_session(self, client_id: str, packet: Connect, properties: Properties) -> ReasonCode | None:
        broker, now = self._broker, self._broker.monotonic()
        try:
            session, is_present = broker.sessions.open(client_id, self, now, is_clean=packet.clean_start)
        except TooManySessionsError:
            return ReasonCode.QUOTA_EXCEEDED
        self.session = session
        session.will = packet.will
        session.expiry_interval_s = self._granted_expiry(packet, properties)
        session.window = min(session.max_window, packet.properties.get("receive_maximum", DEFAULT_RECEIVE_MAXIMUM))
        keep_alive_s = self._granted_keep_alive(packet, properties)
        self._announce_limits(properties)
        self._network.wake()
        self.protocol.accept(Connack(is_present, 0, properties if self.protocol.is_v5 else {}), keep_alive_s)
        broker.presence.connected(client_id)
        session.send_again(now)
        return None

    def _granted_expiry(self, packet: Connect, properties: Properties) -> int:
        most = self._broker.max_session_expiry_s
        if not self.protocol.is_v5:
            return 0 if packet.clean_start else most
        asked: int = packet.properties.get("session_expiry_interval", 0)
        if asked > most:
            properties["session_expiry_interval"] = most
        return min(asked, most)

    def _granted_keep_alive(self, packet: Connect, properties: Properties) -> int:
        most = self._broker.limits.max_keep_alive_s
        is_limited = most < DEFAULT_RECEIVE_MAXIMUM and (packet.keep_alive == 0 or packet.keep_alive > most)
        if self.protocol.is_v5 and is_limited:
            properties["server_keep_alive"] = most  # [v5 MQTT-3.1.2-21]
            return most
        return packet.keep_alive

    def _announce_limits(self, properties: Properties) -> None:
        limits = self._broker.limits
        properties["receive_maximum"] = limits.receive_maximum
        properties["maximum_packet_size"] = limits.max_packet_bytes
        properties["topic_alias_maximum"] = TOPIC_ALIAS_MAXIMUM
        properties["shared_subscription_available"] = 0

    def _reject(self, reason_code: ReasonCode) -> None:
        if self.protocol.is_v5:
            self.protocol.reject(reason_code)
        else:
            self.protocol.reject_v3(reason_code, CONNACK_RETURN_CODES.get(reason_code, 0))
        self._closed_by_protocol()

    # --- PUBLISH in (§3.3, §4.3)

    def _on_publish(self, packet: Publish) -> None:
        session, qos, topic_name = self.session, packet.qos, packet.topic_name
        if session is None or self.is_closing:
            return
        if topic_name[0] == "$" and not self._may_publish(topic_name):
            self._deny(packet)
            return
        if topic_name not in self._topics:
            self._first_publish_to(topic_name)
        flags = qos | (RETAIN_FLAG if packet.is_retain else 0) | (DUP_FLAG if packet.is_dup else 0)
        properties = forwarded_properties(packet.properties) if packet.properties else b""
        message = Message(topic_name, session.client_id, self._received_ms, flags, packet.payload, properties)
        if qos == 0:
            self._broker.committer.add(message)
        elif qos == 1:
            self._broker.committer.add(message, self, packet.packet_id)
        elif session.receive_once(packet.packet_id):
            self._broker.committer.add(message, session, packet.packet_id)

    def _first_publish_to(self, topic_name: str) -> None:
        if len(self._topics) < 1000:
            self._topics.add(topic_name)
        if self.session is not None:
            self._broker.presence.published(self.session.client_id, topic_name)

    def _deny(self, packet: Publish) -> None:
        # $SYS belongs to the server. Before MQTT 5 there is no refusal, and an acknowledgement would say «stored»: close.
        self._broker.counters.publishes_denied += 1
        if not self.protocol.is_v5:
            self.close(ReasonCode.NOT_AUTHORIZED)
        elif packet.qos:
            self._network.wake()
            self.protocol.acknowledge_publish(packet.packet_id, packet.qos, ReasonCode.NOT_AUTHORIZED)

    def _on_pubrel(self, packet: Pubrel) -> None:
        if self.session is not None:
            is_known = self.session.release(packet.packet_id)
            code = 0 if is_known or not self.protocol.is_v5 else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
            self._network.wake()
            self.protocol.complete_publish(packet.packet_id, code)

    # --- the client's answers to what was sent

    def _on_puback(self, packet: Puback) -> None:
        if self.session is not None:
            self.session.acknowledged(packet.packet_id, 1, self._broker.monotonic())

    def _on_pubrec(self, packet: Pubrec) -> None:
        if self.session is not None:
            self.session.pubrec(packet.packet_id, packet.reason_code, self._broker.monotonic())

    def _on_pubcomp(self, packet: Pubcomp) -> None:
        if self.session is not None:
            self.session.acknowledged(packet.packet_id, 2, self._broker.monotonic())

    # --- SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10)

    def _on_subscribe(self, packet: Subscribe) -> None:
        session = self.session
        if session is None:
            return
        identifier = packet.properties.get("subscription_identifier", [0])[0]
        codes: list[int] = []
        retained: list[tuple[str, SubscriptionOptions]] = []
        for wanted in packet.subscriptions:
            options = _options(wanted, identifier)
            refusal = self._refusal(session, wanted)
            if refusal is None:
                is_new = self._broker.tree.subscribe(wanted.topic_filter, session, options)
                session.subscriptions[wanted.topic_filter] = options
                if wanted.retain_handling == 0 or (wanted.retain_handling == 1 and is_new):
                    retained.append((wanted.topic_filter, options))
            codes.append(wanted.qos if refusal is None else refusal)
        self.send(Suback(packet.packet_id, codes).encode(self.protocol.version))
        if retained:
            self._start_retained(session, retained)

    def _refusal(self, session: Session, wanted: Subscription) -> ReasonCode | None:
        if wanted.topic_filter.startswith("$share/"):
            return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not is_valid_topic_filter(wanted.topic_filter, self._broker.limits.max_topic_levels):
            return ReasonCode.TOPIC_FILTER_INVALID
        if session.is_full and wanted.topic_filter not in session.subscriptions:
            return ReasonCode.QUOTA_EXCEEDED
        return None

    def _on_unsubscribe(self, packet: Unsubscribe) -> None:
        session = self.session
        if session is None:
            return
        codes: list[int] = []
        for topic_filter in packet.topic_filters:
            was_there = session.subscriptions.pop(topic_filter, None) is not None
            self._broker.tree.unsubscribe(topic_filter, session)
            codes.append(0 if was_there else ReasonCode.NO_SUBSCRIPTION_EXISTED)
        self.send(Unsuback(packet.packet_id, codes).encode(self.protocol.version))

    # --- retained messages for a new subscription (§3.3.1.3)

    def _start_retained(self, session: Session, subscriptions: list[tuple[str, SubscriptionOptions]]) -> None:
        task = asyncio.get_running_loop().create_task(self._send_retained(session, subscriptions))
        self._retained.add(task)
        task.add_done_callback(self._retained.discard)

    async def _send_retained(self, session: Session, subscriptions: list[tuple[str, SubscriptionOptions]]) -> None:
        for topic_filter, options in subscriptions:
            self._send_messages(session, self._broker.sys_messages_of(topic_filter), options)
            while True:
                try:
                    await self._send_retained_of(session, topic_filter, options)
                    break
                except LinkDownError:
                    await asyncio.sleep(RETAINED_RETRY_S)

    async def _send_retained_of(self, session: Session, topic_filter: str, options: SubscriptionOptions) -> None:
        def deliver(messages: list[Message]) -> None:
            self._send_messages(session, messages, options)

        async def room() -> None:
            while not self._network.is_writable or session.is_queue_half_full:
                await self._network.room()

        retained = self._broker.retained
        if not is_wildcard(topic_filter):
            await retained.get(topic_filter, deliver)
        else:
            await retained.find(literal_prefix(topic_filter), partial(matches, topic_filter), deliver, room)

    def _send_messages(self, session: Session, messages: list[Message], options: SubscriptionOptions) -> None:
        identifiers = (options.subscription_identifier,) if options.subscription_identifier else ()
        for message in messages:
            now = self._broker.monotonic()
            publish = self._broker.outgoing(message, now)
            if not publish.is_expired(now):
                session.deliver(Delivery(publish, min(message.qos, options.qos), True, identifiers), now)

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
            session.expiry_interval_s = min(expiry, self._broker.max_session_expiry_s)
        if packet.reason_code != ReasonCode.DISCONNECT_WITH_WILL_MESSAGE:
            session.will = None  # [v5 MQTT-3.14.4-3]

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


def _options(wanted: Subscription, identifier: int) -> SubscriptionOptions:
    return SubscriptionOptions(
        wanted.qos, wanted.is_no_local, wanted.retain_as_published, wanted.retain_handling, identifier
    )
