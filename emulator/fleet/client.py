"""A paho-mqtt client whose socket the asyncio event loop drives: no thread, and no blocking call but DNS in a pool.

Uses paho's hooks for external loops (`on_socket_open` and its siblings), and one inner hook, where paho makes its
socket: its own dialling blocks, which would hold up every other device of the fleet.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from emulator.fleet.arguments import Options

SESSION_EXPIRY_INTERVAL_S = 3600
PROTOCOLS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


class LoopClient(mqtt.Client):
    """A client for code that runs in the event loop. Its owner calls `loop_misc`, and no other of paho's `loop…`."""

    def __init__(self, client_id: str, options: Options) -> None:
        is_v5 = options.protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_v5 else not options.is_persistent,
            protocol=PROTOCOLS[options.protocol],
            reconnect_on_failure=False,
        )
        self.max_inflight_messages = 0  # no limit here: the device keeps its own window, and skips beyond it
        if options.username:
            self.username_pw_set(options.username, options.password or None)
        self._hand_to(asyncio.get_running_loop())
        self._dialled: socket.socket | None = None
        self.connect_async(options.host, options.port, options.keep_alive_s, **_v5_session(options) if is_v5 else {})

    async def dial(self) -> None:
        """Open a network connection and send CONNECT; `on_connect` or `on_disconnect` tells the outcome.

        Raises OSError when no connection could be made.
        """
        self._dialled = await open_socket(self.host, self.port)
        self.reconnect()

    def _create_socket_connection(self) -> socket.socket:
        sock, self._dialled = self._dialled, None
        if sock is None:
            raise ConnectionError("dial() opens the socket")
        return sock

    def _hand_to(self, loop: asyncio.AbstractEventLoop) -> None:
        def watch(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            loop.add_reader(sock, self.loop_read)

        def unwatch(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
            loop.remove_reader(sock)

        def watch_writable(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
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


def _v5_session(options: Options) -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if options.is_persistent:
        properties.SessionExpiryInterval = SESSION_EXPIRY_INTERVAL_S
    return {"clean_start": not options.is_persistent, "properties": properties}
