"""The state machine of one network connection, server's side (MQTT 5.0 §4.8, §4.13; MQTT 3.1.1 §4.8).

    EXPECT_CONNECT --CONNECT--> DECIDING --accept()--> CONNECTED --DISCONNECT, error--> CLOSED
                                   └──────reject()──────────────────────────────────────▲

The caller feeds what it receives to `receive_data` and acts on the packets that come back: every one is well
formed and allowed in this state. A CONNECT has to be answered with `accept` or `reject`; nothing behind it is read before that.
At most a slice of what came is read at once: while `has_rest`, the caller calls `resume` when others have had their turn.
What is to be sent collects in `output`; once `is_closed`, the caller sends that and closes the socket.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar

from broker.accounts import Account, Holder
from broker.protocol.fast_publish import KnownTopics, read_publishes
from broker.protocol.limits import (
    LARGEST_PACKET_BYTES,
    MAX_CONNECT_BYTES,
    READ_AT_ONCE_BYTES,
    REQUEST_BYTES,
    SLICE_BYTES,
    SLICE_PACKETS,
    SMALL_PACKET_BYTES,
    STEP_BYTES,
    ConnectionLimits,
)
from broker.protocol.packet_order import check_first_byte
from broker.protocol.reason_strings import FAULTS, reason_string
from broker.protocol.receive_buffer import ReceiveBuffer, ReceiveBuffers
from broker.protocol.topic_aliases import OUTGOING_BYTES, IncomingTopicAliases, OutgoingTopicAliases
from broker.wire.codec import Answer, Packet, decode_packet, encode_within
from broker.wire.connack import Connack
from broker.wire.connect import Connect
from broker.wire.disconnect import Disconnect
from broker.wire.errors import ProtocolViolationError, WireError
from broker.wire.framing import read_bounds
from broker.wire.packet_types import ProtocolVersion
from broker.wire.ping import Pingreq
from broker.wire.puback import Puback, Pubcomp, Pubrec, Pubrel
from broker.wire.publish import Publish
from broker.wire.reason_codes import CONNACK_RETURN_CODES, FAILURE, ReasonCode
from broker.wire.subscribe import Subscribe
from broker.wire.unsubscribe import Unsubscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

PINGRESP = b"\xd0\x00"
NOTHING_IN_FLIGHT: set[int] = set()  # of the many connections that have not sent QoS 1 or 2 with MQTT 5
NAMES_BYTES = 1024 * 1024  # where no account is given
_REQUESTS = frozenset((Subscribe, Unsubscribe))
_BEGIN_OF_V5 = re.compile(rb"\x10[\x80-\xff]{0,3}[\x00-\x7f]\x00\x04MQTT\x05")
V5 = ProtocolVersion.V5


class State(Enum):
    """Where a network connection is in its life."""

    EXPECT_CONNECT = auto()
    DECIDING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ServerConnection:
    """One network connection. `now` is any clock in seconds that never goes back."""

    __slots__ = (
        "_in_flight", "_incoming_aliases", "_known_topics", "_limits", "_names", "_opened", "_unread", "_wants_reasons",
        "client_maximum_packet_bytes", "close_reason", "has_parts", "has_rest", "is_v5", "keep_alive_s", "last_received",
        "outgoing_aliases", "output", "state", "version",
    )  # fmt: skip

    def __init__(
        self,
        limits: ConnectionLimits,
        known_topics: KnownTopics,
        receive_buffers: ReceiveBuffers,
        now: float,
        names: Holder | None = None,
    ) -> None:
        """`names`: this connection's part of the account for names, which the caller refunds at its end."""
        self._limits = limits
        self._known_topics = known_topics
        self._opened = now
        self._unread = ReceiveBuffer(receive_buffers)
        self._in_flight: set[int] = NOTHING_IN_FLIGHT
        self._names = names or Holder(Account("names", NAMES_BYTES))
        self._incoming_aliases: IncomingTopicAliases | None = None
        self._wants_reasons = True
        self.outgoing_aliases: OutgoingTopicAliases | None = None
        self.state = State.EXPECT_CONNECT
        self.version = ProtocolVersion.V3_1_1
        self.is_v5 = False
        self.keep_alive_s = 0
        self.last_received = now
        self.client_maximum_packet_bytes = LARGEST_PACKET_BYTES
        self.close_reason: ReasonCode | None = None
        self.output: list[bytes | memoryview] = []
        self.has_parts = False
        """Whether `output` has large parts of packets, which are not to be joined."""
        self.has_rest = False
        """Whether bytes wait that `resume` can read."""

    @property
    def is_closed(self) -> bool:
        """Whether the socket is to be closed once `output` is sent."""
        return self.state is State.CLOSED

    @property
    def has_told_of_fault(self) -> bool:
        """Whether the connection ends because of what the client has sent, and `output` says so."""
        return self.is_v5 and self.close_reason in FAULTS

    # --- what comes in

    def receive_data(self, data: bytes, now: float) -> list[Packet]:
        """Take received bytes; return the packets that the caller has to act on, in order.

        Bytes that break a rule end the connection: the packets before them come back, `is_closed` is true, `close_reason`
        says why, and `output` holds the answer the specification names, if any.
        """
        self.last_received = now
        packets: list[Packet] = []
        if self.state is State.CLOSED:
            return packets
        try:
            unread = self._unread
            if unread.rest:
                unread.add_to_rest(data)
                return packets
            if unread.chunks:
                data = unread.add(data)
            position = 0
            if len(data) <= STEP_BYTES and self.state is State.CONNECTED:  # as nearly always
                position = self._read_run(data, 0, STEP_BYTES, packets)
                if position == len(data):
                    return packets
            self._read(data, position, packets)
        except WireError as error:
            self._end_because_of(error, self._unread.chunks[0] if self._unread.chunks else data)
        return packets

    def _end_because_of(self, error: WireError, begin: bytes) -> None:
        if self.state is State.EXPECT_CONNECT:
            if error.connack:
                self.output.append(error.connack)
            elif error.reason_code in (ReasonCode.PACKET_TOO_LARGE, ReasonCode.QUOTA_EXCEEDED):
                self._refuse_connect_not_read(error.reason_code, begin)
        if self.state is State.DECIDING:
            self.reject(error.reason_code)
        else:
            self.disconnect(error.reason_code)

    def _refuse_connect_not_read(self, reason_code: ReasonCode, begin: bytes) -> None:
        # Who can be told is told, so long as the protocol level has come with the beginning of the packet.
        if _BEGIN_OF_V5.match(begin):
            self.version, self.is_v5 = V5, True
            self.output.append(Connack(False, reason_code).encode(V5))

    def resume(self, now: float) -> list[Packet]:
        """Read the next slice of what waits: behind CONNECT once it is accepted, or behind an earlier slice."""
        self.last_received = now
        packets: list[Packet] = []
        self.has_rest = False
        buffer, position = self._unread.take_rest()
        try:
            self._read(buffer, position, packets)
        except WireError as error:
            self._end_because_of(error, buffer)
        if self._unread.is_empty:
            self._unread.clear()
        return packets

    def forget_unread(self) -> None:
        """Keep nothing of what has not arrived whole: the socket is gone. What waits for its turn stays, see `has_rest`."""
        if not self.has_rest:
            self._unread.clear()

    @property
    def has_unread(self) -> bool:
        """Whether bytes wait for more bytes, for their turn, or for `accept`."""
        return not self._unread.is_empty

    def _read(self, buffer: bytes, position: int, packets: list[Packet]) -> None:
        end = len(buffer)
        slice_end, slice_packets = position + SLICE_BYTES, SLICE_PACKETS
        while position < end and (state := self.state) is not State.CLOSED:
            if position >= slice_end or len(packets) >= slice_packets or state is State.DECIDING:
                if self._keep_rest(buffer, position):
                    return
                slice_end = slice_packets = end
            if state is State.CONNECTED:
                before, step_end = position, min(position + STEP_BYTES, slice_end)
                position = self._read_run(buffer, position, step_end, packets)
                if position == end or position >= step_end > before:
                    continue
            body = self._body_bounds(buffer, position)
            if body is None:
                self._keep(buffer, position, 1)
                return
            start, stop = body
            if stop > end:
                self._keep(buffer, position, stop - end)
                return
            packet = decode_packet(buffer[position], buffer[start:stop], self.version)
            self._accept_packet(packet, packets)
            if type(packet) in _REQUESTS:
                slice_end -= REQUEST_BYTES
            elif type(packet) is not Publish:
                slice_end -= SMALL_PACKET_BYTES
            position = stop

    def _body_bounds(self, buffer: bytes, position: int) -> tuple[int, int] | None:
        """Return where the body of the packet at `position` begins and ends; None before its fixed header is there."""
        if position >= len(buffer):
            return None
        check_first_byte(buffer[position], is_connected=self.state is not State.EXPECT_CONNECT)
        max_packet_bytes = self._limits.max_packet_bytes
        if self.state is State.EXPECT_CONNECT:
            max_packet_bytes = min(max_packet_bytes, MAX_CONNECT_BYTES)
        return read_bounds(buffer, position, max_packet_bytes)

    def _read_run(self, buffer: bytes, position: int, limit: int, packets: list[Packet]) -> int:
        before = len(packets)
        position = read_publishes(
            buffer, position, limit, packets, self._known_topics, self._limits.max_packet_bytes, is_v5=self.is_v5
        )
        if self.is_v5:
            for index in range(before, len(packets)):
                packet = packets[index]
                if type(packet) is Publish and packet.qos:
                    self._count_in_flight_or_cut(packet.packet_id, packets, index)
        return position

    def _count_in_flight_or_cut(self, packet_id: int, packets: list[Packet], index: int) -> None:
        try:
            self._count_in_flight(packet_id)
        except WireError:
            del packets[index:]
            raise

    def _keep(self, buffer: bytes, position: int, missing_bytes: int) -> None:
        if position < len(buffer):
            self._unread.clear()  # of what it was a rest of
            self._unread.keep(buffer[position:], missing_bytes)

    def _keep_rest(self, buffer: bytes, position: int) -> bool:
        """Keep what waits for its turn. False: there is no room for it, and so little that it is read at once instead."""
        try:
            self._unread.keep_rest(buffer, position)
        except WireError:
            if self.state is State.DECIDING or len(buffer) > READ_AT_ONCE_BYTES:
                raise
            return False
        self.has_rest = self.state is State.CONNECTED
        return True

    def _accept_packet(self, packet: Packet, packets: list[Packet]) -> None:
        if self._HANDLERS[type(packet)](self, packet):
            packets.append(packet)

    def _on_connect(self, packet: Connect) -> bool:
        self.version = packet.protocol_version
        self.is_v5 = packet.protocol_version is V5
        self.state = State.DECIDING
        self.client_maximum_packet_bytes = packet.properties.get("maximum_packet_size", LARGEST_PACKET_BYTES)
        self._wants_reasons = packet.properties.get("request_problem_information", 1) == 1
        alias_maximum = packet.properties.get("topic_alias_maximum", 0)
        if alias_maximum and self._names.charge(OUTGOING_BYTES):  # else names are sent as they are
            self.outgoing_aliases = OutgoingTopicAliases(alias_maximum)
        return True

    def _on_publish(self, packet: Publish) -> bool:
        if packet.properties:
            if "subscription_identifier" in packet.properties:
                raise ProtocolViolationError("a client's PUBLISH with a subscription identifier [v5 MQTT-3.3.4-6]")
            if "topic_alias" in packet.properties:
                if self._incoming_aliases is None:
                    self._incoming_aliases = IncomingTopicAliases(self._names)
                self._incoming_aliases.resolve(packet)
        if packet.topic_name.count("/") >= self._limits.max_topic_levels:
            raise WireError("a topic name of too many levels", ReasonCode.TOPIC_NAME_INVALID)
        self._known_topics.admit(packet.topic_name)
        if self.is_v5 and packet.qos:
            self._count_in_flight(packet.packet_id)
        return True

    def _count_in_flight(self, packet_id: int) -> None:
        if not self._in_flight:
            self._in_flight = set()
        self._in_flight.add(packet_id)
        if len(self._in_flight) > self._limits.receive_maximum:
            raise WireError("more than the receive maximum [v5 MQTT-3.3.4-9]", ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)

    def _on_pingreq(self, _: Pingreq) -> bool:
        self.output.append(PINGRESP)  # [v5 MQTT-3.12.4-1]
        return False

    def _on_disconnect(self, _: Disconnect) -> bool:
        self.state = State.CLOSED
        return True

    def _hand_on(self, _: Packet) -> bool:
        return True

    # --- what goes out

    def takes(self, data: Sized) -> bool:
        """Whether the client takes a packet of this size [v5 MQTT-3.1.2-24]."""
        return len(data) <= self.client_maximum_packet_bytes

    def accept(self, connack: Connack, keep_alive_s: int) -> None:
        """Answer CONNECT with success; `keep_alive_s` (0: none) is enforced from now on. Call `resume` next.

        A client that takes no packet of that size is rejected [v5 MQTT-3.1.2-24]: `is_closed` is true then.
        """
        data = self._encode(connack)
        if data is None:
            self.reject(ReasonCode.PACKET_TOO_LARGE)
            return
        self.keep_alive_s = keep_alive_s
        self.state = State.CONNECTED
        self.has_rest = bool(self._unread.rest)
        self.output.append(data)

    def reject(self, reason_code: ReasonCode) -> None:
        """Answer CONNECT with a refusal and close [v5 MQTT-3.1.4-2], [v3.1.1 MQTT-3.2.2-5]."""
        self.close_reason = reason_code
        self._close()
        if self.is_v5:
            self.answer(Connack(False, reason_code))
        elif reason_code in CONNACK_RETURN_CODES:  # others have no return code: only close [v3.1.1 MQTT-3.2.2-6]
            self.answer(Connack(False, CONNACK_RETURN_CODES[reason_code]))

    def answer(self, packet: Answer) -> None:
        """Send an answer and, where the client wants to know, why it is a refusal.

        The explanation is left out where it makes the packet too large for the client [v5 MQTT-3.14.2-3]; a client that
        does not even take the rest is disconnected.
        """
        if self._wants_reasons and self.is_v5 and (reason := reason_string(packet)):
            packet.properties["reason_string"] = reason
        data = self._encode(packet)
        if data is not None:
            self.output.append(data)
        else:
            self.disconnect(ReasonCode.PACKET_TOO_LARGE)

    def _encode(self, packet: Answer) -> bytes | None:
        return encode_within(packet, self.version, self.client_maximum_packet_bytes)

    def violated(self, reason_code: ReasonCode) -> None:
        """Answer a DISCONNECT that breaks a rule with one that says so."""
        self.state = State.CONNECTED
        self.disconnect(reason_code)

    def acknowledge_publish(self, packet_id: int, qos: int, reason_code: int = 0) -> None:
        """Answer a PUBLISH: PUBACK for QoS 1, PUBREC for QoS 2. Only after its message is stored, or with an error code.

        It stands beside `Puback.encode` for speed: 0.4 us against 2.5 us (CPython 3.11, a shared core).
        """
        identifier = packet_id.to_bytes(2, "big")
        if self.is_v5:
            if qos == 1 or reason_code >= FAILURE:
                self._in_flight.discard(packet_id)
            if reason_code:
                self.output.append(b"%c\x03%b%c" % (0x40 if qos == 1 else 0x50, identifier, reason_code))
                return
        self.output.append((b"\x40\x02" if qos == 1 else b"\x50\x02") + identifier)

    def complete_publish(self, packet_id: int) -> None:
        """Answer a PUBREL with PUBCOMP."""
        self._in_flight.discard(packet_id)
        self.output.append(Pubcomp(packet_id).encode(self.version))

    def disconnect(self, reason_code: ReasonCode) -> None:
        """Close, with DISCONNECT where the version has it from a server and the client has been accepted [v5 MQTT-3.14.0-1]."""
        if self.state is State.CLOSED:
            return
        was_connected = self.state is State.CONNECTED
        self.close_reason = reason_code
        self._close()
        if was_connected and self.is_v5:
            self.answer(Disconnect(reason_code))

    def _close(self) -> None:
        self.state = State.CLOSED
        self.has_rest = False
        self._unread.clear()

    # --- time

    def deadline(self) -> float:
        """Return when `time_out` is due, on the clock that `now` comes from; infinity where nothing is awaited."""
        if self.state in (State.EXPECT_CONNECT, State.DECIDING):
            return self._opened + self._limits.connect_timeout_s
        if self.state is State.CONNECTED and self.keep_alive_s:
            return self.last_received + self.keep_alive_s * 1.5  # [v5 MQTT-3.1.2-22]
        return float("inf")

    def time_out(self) -> None:
        """Close because the deadline has passed; a CONNECT that could not be decided is refused."""
        if self.state is State.DECIDING:
            self.reject(ReasonCode.SERVER_UNAVAILABLE)
        else:
            self.disconnect(ReasonCode.KEEP_ALIVE_TIMEOUT)

    # --- which packets a client may send

    _HANDLERS: ClassVar[dict[type, Callable[..., bool]]] = {
        Connect: _on_connect,
        Publish: _on_publish,
        Puback: _hand_on,
        Pubrec: _hand_on,
        Pubrel: _hand_on,
        Pubcomp: _hand_on,
        Subscribe: _hand_on,
        Unsubscribe: _hand_on,
        Pingreq: _on_pingreq,
        Disconnect: _on_disconnect,
    }
