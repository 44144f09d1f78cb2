"""A paho-mqtt client whose socket the asyncio event loop drives: no thread, and no blocking call but DNS in a pool.

Uses paho's hooks for external loops (`on_socket_open` and its siblings), and three inner ones: where paho makes its
socket (its own dialling blocks, which would hold up every other device of the fleet), and two that keep QoS 2 exact.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageState
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from paho.mqtt.enums import MQTTErrorCode

SESSION_EXPIRY_INTERVAL_S = 3600
PROTOCOLS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
FAILURE = 0x80


@dataclass(frozen=True)
class Endpoint:
    """Where the broker is, and how every client of the fleet speaks to it."""

    host: str
    port: int
    username: str
    password: str
    protocol: Literal["3.1.1", "5"]
    keep_alive_s: int
    connect_timeout_s: float


class LoopClient(mqtt.Client):
    """A client for code that runs in the event loop. Its owner calls `loop_misc`, and no other of paho's `loop…`.

    A persistent session is begun anew at the first connection, and continued at the following ones.
    """

    def __init__(self, client_id: str, endpoint: Endpoint, *, is_persistent: bool) -> None:
        self._is_v5 = endpoint.protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._is_v5 else not is_persistent,
            protocol=PROTOCOLS[endpoint.protocol],
            reconnect_on_failure=False,
        )
        self.max_inflight_messages = 0  # no limit here: the publisher keeps its own window
        if endpoint.username:
            self.username_pw_set(endpoint.username, endpoint.password or None)
        self._event_loop = asyncio.get_running_loop()
        self._is_muted = False
        self._stored: set[int] = set()  # packet identifiers whose PUBREC came, without a failure
        self._set_hooks()
        self._dialled: socket.socket | None = None
        session = _v5_session(is_persistent=is_persistent) if self._is_v5 else {}
        self.connect_async(endpoint.host, endpoint.port, endpoint.keep_alive_s, **session)

    async def dial(self) -> None:
        """Open a network connection and send CONNECT; `on_connect` or `on_disconnect` tells the outcome.

        Raises OSError when no connection could be made.
        """
        self._dialled = await open_socket(self.host, self.port)
        self._is_muted = False
        self.reconnect()

    def cut(self) -> None:
        """Lose the network connection, without DISCONNECT; `on_disconnect` follows."""
        sock: Any = self.socket()
        if sock is not None:
            self._is_muted = False
            self._event_loop.add_reader(sock, self.loop_read)
            with suppress(OSError):  # the broker was faster; the reader learns it
                sock.shutdown(socket.SHUT_RDWR)

    def mute(self) -> None:
        """Neither read nor write any more, as behind a dead network, until `cut()`."""
        sock: Any = self.socket()
        if sock is not None:
            self._is_muted = True
            self._event_loop.remove_reader(sock)
            self._event_loop.remove_writer(sock)

    def leave(self, *, ends_session: bool) -> None:
        """Send DISCONNECT; with MQTT 5 a session can be ended with it."""
        properties = None
        if ends_session and self._is_v5:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
        self.disconnect(properties=properties)

    def take_stored(self, packet_id: int) -> bool:
        """Whether PUBREC said that a QoS 2 message is the broker's; asked once, with the final answer."""
        is_stored = packet_id in self._stored
        self._stored.discard(packet_id)
        return is_stored

    def tend(self) -> None:
        """Send PINGREQ when it is due, and notice a broker that does not answer; call about once a second."""
        if not self._is_muted:
            self.loop_misc()

    def _create_socket_connection(self) -> socket.socket:
        sock, self._dialled = self._dialled, None
        if sock is None:
            raise ConnectionError("dial() opens the socket")
        return sock

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if len(packet) < 3 or packet[2] < FAILURE:  # [v5 MQTT-4.3.3]: paho sends PUBREL whatever the reason code is
            self._stored.add(int.from_bytes(packet[:2], "big"))
        return super()._handle_pubrec()

    def _messages_reconnect_reset_out(self) -> None:
        # paho forgets at the second attempt to connect in a row that PUBREC came, and would publish a second time.
        for message in self._out_messages.values():
            if message.state == MessageState.MQTT_MS_RESEND_PUBREL:
                message.state = MessageState.MQTT_MS_WAIT_FOR_PUBCOMP
        super()._messages_reconnect_reset_out()

    def _set_hooks(self) -> None:
        loop = self._event_loop

        def watch(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            loop.add_reader(sock, self.loop_read)

        def unwatch(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            loop.remove_reader(sock)

        def watch_writable(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            if not self._is_muted:
                loop.add_writer(sock, self.loop_write)

        def unwatch_writable(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            loop.remove_writer(sock)

        self.on_socket_open = watch
        self.on_socket_close = unwatch
        self.on_socket_register_write = watch_writable
        self.on_socket_unregister_write = unwatch_writable


async def open_socket(host: str, port: int) -> socket.socket:
    """Return a connected, non-blocking socket without Nagle's delay. Raises OSError of the last address tried."""
    loop = asyncio.get_running_loop()
    failure: OSError = ConnectionRefusedError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except asyncio.CancelledError:
            sock.close()
            raise
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure


def _v5_session(*, is_persistent: bool) -> dict[str, Any]:
    if not is_persistent:
        return {"clean_start": True}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_INTERVAL_S
    return {"clean_start": mqtt.MQTT_CLEAN_START_FIRST_ONLY, "properties": properties}
