"""A device of the model: it keeps MQTT's rules of a client, and tells the ledger what it does and sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt

from tests.delivery.ledger import EXPIRY_S, Received, Will

if TYPE_CHECKING:
    from tests.delivery.ledger import Ledger, Sent, Subscription
    from tests.delivery.model_node import DeviceSocket, ModelNode
    from tests.delivery.virtual_loop import Clock

REFUSED, SERVER_UNAVAILABLE = 0x80, 0x88


@dataclass
class Unacknowledged:
    """A message that was sent, and until when: PUBACK, or PUBREC and PUBCOMP."""

    sent: Sent
    connection: int
    is_released: bool = False


class Device:
    """One client id and what it remembers over its connections."""

    def __init__(self, client_id: str, ledger: Ledger, clock: Clock) -> None:
        self.client_id = client_id
        self.node: ModelNode | None = None
        self.is_connected = self.is_withholding = False
        self.connection = 0
        self._ledger = ledger
        self._clock = clock
        self._socket: DeviceSocket | None = None
        self._buffer = bytearray()
        self._is_clean = self._is_leaving = False
        self._will: Will | None = None
        self._will_before: Will | None = None
        self._unanswered: ModelNode | None = None
        self._packet_id = 0
        self.unacknowledged: dict[int, Unacknowledged] = {}
        self._subscribing: dict[int, Subscription] = {}
        self._unsubscribing: dict[int, list[Subscription]] = {}
        self._incoming: set[int] = set()
        self._withheld: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether it has a connection, accepted or not."""
        return self._socket is not None

    @property
    def may_publish(self) -> bool:
        """Whether it has a connection to publish on: before CONNACK too, where nothing has to be sent again first."""
        has_to_resend = any(each.connection != self.connection for each in self.unacknowledged.values())
        return self.is_connected or (self.is_open and not self._is_leaving and not has_to_resend)

    @property
    def may_connect(self) -> bool:
        """Whether no CONNECT of before can begin a new session, or bring messages, when it is done later than the next."""
        return self._unanswered is None or not self._unanswered.is_busy

    @property
    def has_persistent_session(self) -> bool:
        """Whether the broker is to keep its session."""
        session = self._ledger.sessions.get(self.client_id)
        return session is not None and session.is_persistent

    # --- what it does

    def connect(self, node: ModelNode, *, is_clean: bool, is_persistent: bool, will_delay_s: int | None) -> None:
        """Open a connection; one that there still is, is not looked at any more."""
        if self._socket is not None:
            self._lost()
        self._will_before, self._will = self._will, None
        if self._will_before is not None and self._will_before.delay_s:
            self._will_before.least = 0
        self.node, self._socket = node, node.connect()
        self.connection += 1
        self._is_clean, self._is_leaving = is_clean, False
        self._unanswered = node if is_clean else None
        self._ledger.connects(self.client_id, is_clean=is_clean, is_persistent=is_persistent)
        will = None
        if will_delay_s is not None:
            self._will = Will(self._ledger.now(), will_delay_s)
            self._ledger.wills.append(self._will)
            properties = [(mqtt.WILL_DELAY_INTERVAL, will_delay_s)]
            will = mqtt.Will(f"will/{self.client_id}", b"%d" % self._will.payload, qos=1, properties=properties)
        properties = [(mqtt.SESSION_EXPIRY_INTERVAL, EXPIRY_S)] if is_persistent else []
        self._send(mqtt.connect(5, self.client_id, clean=is_clean, keep_alive_s=0, will=will, props=properties))

    def subscribe(self, topic_filter: str, qos: int) -> None:
        packet_id = self._next_packet_id()
        made = self._ledger.subscribes(self.client_id, topic_filter, qos, self.connection)
        self._subscribing[packet_id] = made
        self._send(mqtt.subscribe(5, packet_id, [(topic_filter, qos)]))

    def unsubscribe(self, topic_filter: str) -> None:
        packet_id = self._next_packet_id()
        self._unsubscribing[packet_id] = self._ledger.unsubscribes(self.client_id, topic_filter)
        self._send(mqtt.unsubscribe(5, packet_id, [topic_filter]))

    def publish(self, topic: str, qos: int, *, is_retain: bool) -> None:
        sent = self._ledger.sends(self.client_id, topic, qos, is_retain=is_retain)
        packet_id = 0
        if not self.is_connected:
            self._unanswered = self.node
        if qos:
            packet_id = self._next_packet_id()
            self.unacknowledged[packet_id] = Unacknowledged(sent, self.connection)
        self._send_publish(sent, packet_id, is_dup=False)

    def _send_publish(self, sent: Sent, packet_id: int, *, is_dup: bool) -> None:
        payload, retain = b"%d" % sent.payload, sent.is_retain
        self._send(mqtt.publish(5, sent.topic, payload, qos=sent.qos, packet_id=packet_id, retain=retain, dup=is_dup))

    def acknowledge(self) -> None:
        """Send the acknowledgements that were withheld, and withhold none any more."""
        self.is_withholding = False
        for each in self._withheld:
            self._send(each)
        self._withheld.clear()

    def disconnect(self) -> None:
        """Send DISCONNECT and wait for the broker to close."""
        self._send(mqtt.disconnect(5))
        self._is_leaving = True
        self.is_connected = False
        self._left()
        if self._will is not None:
            self._will.least = 0

    def lose(self) -> None:
        """Lose the connection."""
        assert self._socket is not None
        self._socket.end()
        self._lost()

    def _next_packet_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.send(data)

    def _lost(self) -> None:
        """Note that the connection has ended, or is not looked at any more."""
        self._left()
        if self._will is not None:
            self._will.left_s = self._clock.now_s
            if self.is_connected:
                self._will.least = 1
        self._socket, self.is_connected = None, False
        self._buffer.clear()
        self._withheld.clear()
        self._subscribing.clear()
        self._unsubscribing.clear()

    def _left(self) -> None:
        """Note that the session is without a connection: the other nodes may have thought so before."""
        since_s = self.node.may_be_dead_since_s if self.node is not None else None
        self._ledger.left(self.client_id, since_s or self._clock.now_s)

    # --- what it sees

    def work(self) -> bool:
        """Act on what has come; return whether there was anything."""
        socket = self._socket
        if socket is None:
            return False
        is_closed = socket.is_closed
        self._buffer += socket.take()
        is_busy = False
        while self._socket is socket and (packet := self._take_packet()) is not None:
            is_busy = True
            self._HANDLERS[packet.type](self, packet)
        if is_closed:
            if self._is_leaving and socket.is_closed_by_broker and self._will is not None:
                self._will.most = 0  # the store has forgotten it
            self._lost()
        return is_busy or is_closed

    def _take_packet(self) -> mqtt.Packet | None:
        length = shift = 0
        for at in range(1, len(self._buffer)):
            length |= (self._buffer[at] & 127) << shift
            shift += 7
            if self._buffer[at] < 128:
                break
        else:
            return None
        if len(self._buffer) < at + 1 + length:
            return None
        first, body = self._buffer[0], bytes(self._buffer[at + 1 : at + 1 + length])
        del self._buffer[: at + 1 + length]
        return mqtt.Packet(first >> 4, first & 15, body)

    def _on_connack(self, packet: mqtt.Packet) -> None:
        connack = mqtt.read_connack(5, packet)
        if connack.code:
            assert connack.code == SERVER_UNAVAILABLE, connack  # its time is over; the end follows
            return
        is_present = connack.is_session_present
        self._ledger.accepted(self.client_id, self._clock.now_s, is_clean=self._is_clean, is_present=is_present)
        self.is_connected, self._unanswered = not self._is_leaving, None
        before = self._will_before
        if is_present and before is not None and self._clock.now_s < (before.left_s or 0) + before.delay_s:
            before.most = 0  # [v5 MQTT-3.1.3-9]
        if not is_present:
            self._incoming.clear()
            self.unacknowledged = {
                packet_id: each for packet_id, each in self.unacknowledged.items() if each.connection == self.connection
            }
        for packet_id, each in list(self.unacknowledged.items()):
            if each.is_released:
                self._send(mqtt.acknowledgement(mqtt.PUBREL, packet_id))
            elif each.connection != self.connection:
                each.sent.resent += 1
                self._send_publish(each.sent, packet_id, is_dup=True)

    def _on_publish(self, packet: mqtt.Packet) -> None:
        publish = mqtt.read_publish(5, packet)
        is_new = publish.qos < 2 or publish.packet_id not in self._incoming
        if is_new:
            received = Received(int(publish.payload), publish.topic, publish.qos, publish.retain, self.connection)
            self._ledger.receives(self.client_id, received)
        if publish.qos == 2:
            self._incoming.add(publish.packet_id)
        if publish.qos:
            answer = mqtt.acknowledgement(mqtt.PUBACK if publish.qos == 1 else mqtt.PUBREC, publish.packet_id)
            if self.is_withholding:
                self._withheld.append(answer)
            else:
                self._send(answer)

    def _on_pubrel(self, packet: mqtt.Packet) -> None:
        packet_id = int.from_bytes(packet.body[:2])
        self._incoming.discard(packet_id)
        self._send(mqtt.acknowledgement(mqtt.PUBCOMP, packet_id))

    def _on_puback(self, packet: mqtt.Packet) -> None:
        packet_id, code = self._acknowledgement(packet)
        each = self.unacknowledged.pop(packet_id, None)
        assert code < REFUSED
        if each is not None:
            self._ledger.acked(each.sent.payload)

    def _on_pubrec(self, packet: mqtt.Packet) -> None:
        packet_id, code = self._acknowledgement(packet)
        assert code < REFUSED
        each = self.unacknowledged.get(packet_id)
        if each is not None and not each.is_released:
            each.is_released = True
            self._ledger.acked(each.sent.payload)
        self._send(mqtt.acknowledgement(mqtt.PUBREL, packet_id))

    def _on_pubcomp(self, packet: mqtt.Packet) -> None:
        self.unacknowledged.pop(self._acknowledgement(packet)[0], None)

    def _acknowledgement(self, packet: mqtt.Packet) -> tuple[int, int]:
        read = mqtt.read_acknowledgement(5, packet)
        return read.packet_id, max(read.codes)

    def _on_suback(self, packet: mqtt.Packet) -> None:
        packet_id, code = self._acknowledgement(packet)
        assert code < REFUSED
        self._ledger.suback(self._subscribing.pop(packet_id))

    def _on_unsuback(self, packet: mqtt.Packet) -> None:
        packet_id, _ = self._acknowledgement(packet)
        self._ledger.unsuback(self._unsubscribing.pop(packet_id))

    def _on_disconnect(self, packet: mqtt.Packet) -> None:
        """The broker says why it closes; the end follows."""

    _HANDLERS: dict[int, Any] = {  # noqa: RUF012
        mqtt.CONNACK: _on_connack,
        mqtt.PUBLISH: _on_publish,
        mqtt.PUBREL: _on_pubrel,
        mqtt.PUBACK: _on_puback,
        mqtt.PUBREC: _on_pubrec,
        mqtt.PUBCOMP: _on_pubcomp,
        mqtt.SUBACK: _on_suback,
        mqtt.UNSUBACK: _on_unsuback,
        mqtt.DISCONNECT: _on_disconnect,
    }
