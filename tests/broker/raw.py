"""One network connection on which a test writes exact bytes and reads whole packets, each within a deadline."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Self

import mqtt_bytes as mqtt

if TYPE_CHECKING:
    from types import TracebackType

DEADLINE_S = 10.0


class ClosedError(ConnectionError):
    """The server closed the network connection while a packet was expected."""


class RawClient:
    """A client that does only what a test says. `version` is the protocol level it speaks: 3, 4 or 5."""

    def __init__(self, host: str, port: int, version: int = 5, *, receive_buffer_bytes: int = 0) -> None:
        self.version = version
        self._socket = socket.socket()
        if receive_buffer_bytes:  # has to be known before the handshake announces the window
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send_timeout_s = DEADLINE_S
        self._received = bytearray()
        self._waiting: list[mqtt.Packet] = []
        self._last_packet_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close without DISCONNECT, as a lost network connection would."""
        self._socket.close()

    # --- bytes and packets

    def set_send_timeout(self, timeout_s: float) -> None:
        """Let `send` wait no longer than this."""
        self._send_timeout_s = timeout_s

    def send(self, data: bytes) -> None:
        """Write `data` whole. Raises TimeoutError when the server does not take it in time."""
        self._socket.settimeout(self._send_timeout_s)
        self._socket.sendall(data)

    def receive(self, *types: int, deadline_s: float = DEADLINE_S) -> mqtt.Packet:
        """Return the next packet, or the next of `types` (others wait their turn).

        Raises TimeoutError when the deadline passes, ClosedError when the server closes first.
        """
        for position, packet in enumerate(self._waiting):
            if not types or packet.type in types:
                return self._waiting.pop(position)
        end = time.monotonic() + deadline_s
        while True:
            packet = self._next_packet(end)
            if not types or packet.type in types:
                return packet
            self._waiting.append(packet)

    def receive_until_closed(self, deadline_s: float = DEADLINE_S) -> list[mqtt.Packet]:
        """Return what the server still sends before it closes. Raises TimeoutError when it does not close."""
        packets: list[mqtt.Packet] = []
        end = time.monotonic() + deadline_s
        while True:
            try:
                packets.append(self.receive(deadline_s=end - time.monotonic()))
            except ClosedError:
                return packets

    def expect_nothing(self, duration_s: float) -> None:
        """Assert that the connection stays open and no packet comes for `duration_s`."""
        try:
            packet = self.receive(deadline_s=duration_s)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {packet!r}")

    def _next_packet(self, end: float) -> mqtt.Packet:
        while (packet := self._take_packet()) is None:
            self._socket.settimeout(max(0.0001, end - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if not data:
                raise ClosedError(f"closed after {bytes(self._received)!r}")
            self._received += data
        return packet

    def _take_packet(self) -> mqtt.Packet | None:
        length = shift = 0
        for at in range(1, len(self._received)):
            length |= (self._received[at] & 127) << shift
            shift += 7
            if self._received[at] < 128:
                break
        else:
            return None
        if len(self._received) < at + 1 + length:
            return None
        first, body = self._received[0], bytes(self._received[at + 1 : at + 1 + length])
        del self._received[: at + 1 + length]
        return mqtt.Packet(first >> 4, first & 15, body)

    # --- exchanges as the specification draws them

    def connect(
        self,
        client_id: str = "",
        *,
        clean: bool = True,
        keep_alive_s: int = 60,
        will: mqtt.Will | None = None,
        username: str | None = None,
        password: str | None = None,
        props: mqtt.Properties = mqtt.NO_PROPERTIES,
    ) -> mqtt.Connack:
        """Send CONNECT and return the CONNACK, whatever it says."""
        self.send(
            mqtt.connect(
                self.version,
                client_id,
                clean=clean,
                keep_alive_s=keep_alive_s,
                will=will,
                username=username,
                password=password,
                props=props,
            )
        )
        return mqtt.read_connack(self.version, self.receive(mqtt.CONNACK))

    def subscribe(
        self, *filters: str | tuple[str, int], props: mqtt.Properties = mqtt.NO_PROPERTIES
    ) -> tuple[int, ...]:
        """Subscribe to filters, each alone (QoS 2) or with its options byte; return the SUBACK's codes."""
        pairs: list[tuple[str | bytes, int]] = [(each, 2) if isinstance(each, str) else each for each in filters]
        packet_id = self.next_packet_id()
        self.send(mqtt.subscribe(self.version, packet_id, pairs, props))
        return self._codes(mqtt.SUBACK, packet_id)

    def unsubscribe(self, *filters: str) -> tuple[int, ...]:
        """Unsubscribe; return the UNSUBACK's codes (none before MQTT 5)."""
        packet_id = self.next_packet_id()
        self.send(mqtt.unsubscribe(self.version, packet_id, list(filters)))
        return self._codes(mqtt.UNSUBACK, packet_id)

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        *,
        qos: int = 0,
        retain: bool = False,
        props: mqtt.Properties = mqtt.NO_PROPERTIES,
    ) -> int:
        """Publish, wait for the whole exchange of `qos`, and return the reason code (0 before MQTT 5)."""
        packet_id = self.next_packet_id() if qos else 0
        self.send(mqtt.publish(self.version, topic, payload, qos=qos, packet_id=packet_id, retain=retain, props=props))
        if qos == 0:
            return 0
        codes = self._codes(mqtt.PUBACK if qos == 1 else mqtt.PUBREC, packet_id)
        if qos == 2 and max(codes, default=0) < 0x80:
            self.send(mqtt.acknowledgement(mqtt.PUBREL, packet_id))
            codes = self._codes(mqtt.PUBCOMP, packet_id)
        return max(codes, default=0)

    def receive_publish(self, *, deadline_s: float = DEADLINE_S, acknowledge: bool = True) -> mqtt.Publish:
        """Return the next PUBLISH, after its whole exchange unless `acknowledge` is off."""
        publish = mqtt.read_publish(self.version, self.receive(mqtt.PUBLISH, deadline_s=deadline_s))
        if acknowledge:
            self.acknowledge(publish)
        return publish

    def acknowledge(self, publish: mqtt.Publish) -> None:
        """Go through the receiver's side of the exchange."""
        if publish.qos == 1:
            self.send(mqtt.acknowledgement(mqtt.PUBACK, publish.packet_id))
        elif publish.qos == 2:
            self.send(mqtt.acknowledgement(mqtt.PUBREC, publish.packet_id))
            self._codes(mqtt.PUBREL, publish.packet_id)
            self.send(mqtt.acknowledgement(mqtt.PUBCOMP, publish.packet_id))

    def receive_up_to(self, topic: str) -> list[mqtt.Publish]:
        """Return every message that comes before one on `topic`: a later message shows what was not sent."""
        before: list[mqtt.Publish] = []
        while (publish := self.receive_publish()).topic != topic:
            before.append(publish)
        return before

    def receive_until_quiet(
        self, quiet_s: float = 0.4, *, at_least: int = 0, deadline_s: float = DEADLINE_S
    ) -> list[mqtt.Publish]:
        """Return every message that comes until none has for `quiet_s`.

        `at_least`: so many have to come, each within `deadline_s`, before quiet counts. Raises TimeoutError otherwise.
        """
        received = [self.receive_publish(deadline_s=deadline_s) for _ in range(at_least)]
        try:
            while True:
                received.append(self.receive_publish(deadline_s=quiet_s))
        except TimeoutError:
            return received

    def ping(self) -> None:
        """Send PINGREQ and wait for PINGRESP."""
        self.send(mqtt.PING)
        self.receive(mqtt.PINGRESP)

    def disconnect(self, reason_code: int = 0, props: mqtt.Properties = mqtt.NO_PROPERTIES) -> None:
        """Send DISCONNECT, wait until the server has closed, and close."""
        self.send(mqtt.disconnect(self.version, reason_code, props))
        self.receive_until_closed()
        self.close()

    def next_packet_id(self) -> int:
        """Return a packet identifier that this client has not used yet."""
        self._last_packet_id += 1
        return self._last_packet_id

    def _codes(self, packet_type: int, packet_id: int) -> tuple[int, ...]:
        answer = mqtt.read_acknowledgement(self.version, self.receive(packet_type))
        assert answer.packet_id == packet_id
        return answer.codes
