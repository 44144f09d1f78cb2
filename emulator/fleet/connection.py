"""One client of the fleet: its way to the broker, and back after each loss. What it says and hears is its subclass's.

All of it runs in the event loop's thread: no thread per client, no lock.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from emulator.fleet.absence import Absence
from emulator.fleet.backoff import Backoff
from emulator.fleet.client import Endpoint, LoopClient

if TYPE_CHECKING:
    from paho.mqtt.client import ConnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

NO_RECEIVE_MAXIMUM = 65_535  # v5 §3.2.2.3.3; before MQTT 5 no broker can announce one
STABLE_S = 5.0  # a connection that lasted this long starts the backoff anew


class NotConnectedError(Exception):
    """The attempt to connect failed; the message says why, for people."""


class Connection:
    """Keeps one client connected. `hold` and `release` take its network away and give it back.

    Subclasses learn what happens: `_will_opens`, `_opened`, `_closed`, `_answered`, `_received`.
    """

    def __init__(self, client_id: str, endpoint: Endpoint, seed: int, *, is_persistent: bool) -> None:
        self.client_id = client_id
        self.is_persistent = is_persistent
        self.attempted = asyncio.Event()  # set once the first attempt to connect has ended
        self.is_connected = False  # whether the broker accepted the connection, and it is not known to be lost
        self.connections = 0
        self.receive_maximum = NO_RECEIVE_MAXIMUM  # how many messages of QoS 1 and 2 the broker takes unacknowledged
        self.last_absence_s = (0.0, 0.0)  # before this connection: see Absence.end
        self._endpoint = endpoint
        self._absence = Absence()
        self._backoff = Backoff(Random(f"{seed}/{client_id}/backoff"))
        self._holds = 0
        self._is_accepted = False  # as is_connected, but for what the client itself believes
        self._is_leaving = False
        self._wanted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._connack: asyncio.Future[ReasonCode] | None = None
        self._disconnected = asyncio.Event()
        self._disconnected.set()
        self._client = LoopClient(client_id, endpoint, is_persistent=is_persistent)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_answer
        self._client.on_message = self._on_message
        self._want()

    async def connect(self) -> None:
        """Connect. Raises NotConnectedError."""
        try:
            if self.is_persistent and not self.connections and self._endpoint.protocol == "3.1.1":
                await _discard_session(self.client_id, self._endpoint)
            reason_code = await self._handshake()
        except OSError as error:
            self._client.disconnect()
            raise NotConnectedError(_explain(error, self._endpoint.connect_timeout_s)) from None
        finally:
            self.attempted.set()
        if reason_code.is_failure:
            raise NotConnectedError(f"the broker answered: {reason_code}")

    async def stay_connected(self, dialling: asyncio.Semaphore) -> None:
        """Connect, and again after each loss, until cancelled; `dialling` bounds the fleet's attempts at once."""
        while True:
            unwanted_at_s = time.monotonic()
            await self._wanted.wait()
            connected_at_s = time.monotonic()
            self._absence.pause(connected_at_s - unwanted_at_s)
            try:
                async with dialling:
                    if not self._is_accepted:
                        await self.connect()
                await self._disconnected.wait()
            except NotConnectedError:
                pass
            else:
                if time.monotonic() - connected_at_s >= STABLE_S:
                    self._backoff.reset()
            await self._pause(self._backoff.next_s())

    async def _pause(self, for_s: float) -> None:
        paused_at_s = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._hurried.wait()
        self._hurried.clear()
        self._absence.pause(min(for_s, time.monotonic() - paused_at_s))

    def hold(self, *, is_silent: bool) -> None:
        """Take the network away: the connection is cut without DISCONNECT, or nothing passes it any more."""
        self._holds += 1
        self._want()
        self.is_connected = False
        if is_silent:
            self._client.mute()
        else:
            self._client.cut()

    def release(self) -> None:
        """Give the network back, if nothing else holds it."""
        self._holds = max(0, self._holds - 1)
        self._want()
        if not self._holds:
            self._client.cut()  # a connection that was silent: the addresses behind it have changed

    def release_all(self) -> None:
        """Give the network back, whoever holds it, and do not wait."""
        if self._holds:
            self._holds = 0
            self.release()
        self.hurry()

    def reconnect(self) -> None:
        """Lose the connection, and come back at once; nothing where there is no network."""
        if not self._holds:
            self._client.cut()
            self.hurry()

    def hurry(self) -> None:
        """Do not wait for the next attempt to connect."""
        self._hurried.set()

    async def leave(self, *, ends_session: bool = True) -> None:
        """Disconnect in an orderly way, so that the will is not published."""
        self._is_leaving = True
        self._want()
        if self._is_accepted:
            self._client.leave(ends_session=ends_session)
            await self._disconnected.wait()

    def tend(self) -> None:
        """Keep the connection alive; call about once a second."""
        self._client.tend()

    def _want(self) -> None:
        if self._holds or self._is_leaving:
            self._wanted.clear()
        else:
            self._wanted.set()

    def _will_opens(self) -> None:
        """Get ready: CONNECT is about to be sent."""

    def _opened(self, *, is_session_present: bool) -> None:
        """Take note that the broker has accepted the connection."""

    def _closed(self, *, is_orderly: bool) -> None:
        """Take note that an accepted connection has ended; `is_orderly`: DISCONNECT was sent."""

    def _answered(self, packet_id: int, *, is_failure: bool) -> None:
        """Take note of the final answer to a message, or at QoS 0 that it was written."""

    def _received(self, topic_name: str, payload: bytes, *, is_retain: bool) -> None:
        """Take a message."""

    async def _handshake(self) -> ReasonCode:
        async with asyncio.timeout(self._endpoint.connect_timeout_s):
            self._connack = asyncio.get_running_loop().create_future()
            self._disconnected.clear()
            self._will_opens()
            await self._client.dial()
            return await self._connack

    def _on_connect(
        self, _client: Any, _userdata: Any, flags: ConnectFlags, reason_code: ReasonCode, properties: Any
    ) -> None:
        if not reason_code.is_failure:
            self.receive_maximum = getattr(properties, "ReceiveMaximum", NO_RECEIVE_MAXIMUM)
            self._is_accepted = True
            self.is_connected = not self._holds
            self.connections += 1
            self.last_absence_s = self._absence.end(time.monotonic())
            self._hurried.clear()
            # Not from within this callback: paho sends again what was unacknowledged only after it.
            asyncio.get_running_loop().call_soon(self._after_connack, flags.session_present)
        if self._connack is not None and not self._connack.done():
            self._connack.set_result(reason_code)

    def _after_connack(self, is_session_present: bool) -> None:
        if self._holds:
            self._client.cut()
        elif self._is_accepted:
            self._opened(is_session_present=is_session_present)

    def _on_disconnect(self, *_details: Any) -> None:
        was_accepted, self._is_accepted, self.is_connected = self._is_accepted, False, False
        self._disconnected.set()
        if was_accepted:
            self._absence.begin(time.monotonic())
            self._closed(is_orderly=self._is_leaving)
        if self._connack is not None and not self._connack.done():
            self._connack.set_exception(ConnectionAbortedError("the broker closed the connection"))

    def _on_answer(self, _client: Any, _userdata: Any, mid: int, reason_code: ReasonCode, _properties: Any) -> None:
        is_stored = self._client.take_stored(mid)  # then a PUBCOMP of 0x92 tells of a PUBREL sent again
        self._answered(mid, is_failure=reason_code.is_failure and not is_stored)

    def _on_message(self, _client: Any, _userdata: Any, message: MQTTMessage) -> None:
        self._received(message.topic, bytes(message.payload), is_retain=message.retain)


async def _discard_session(client_id: str, endpoint: Endpoint) -> None:
    """Connect once with clean session 1: MQTT 3.1.1 has no other way to begin a lasting session anew. Raises OSError."""
    client = LoopClient(client_id, endpoint, is_persistent=False)
    ended = asyncio.Event()
    client.on_connect = lambda *_: client.leave(ends_session=True)
    client.on_disconnect = lambda *_: ended.set()
    async with asyncio.timeout(endpoint.connect_timeout_s):
        await client.dial()
        await ended.wait()


def _explain(error: Exception, timeout_s: float) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "the host name is not known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # without the address that asyncio adds: the caller names it
    return str(error) or f"no answer within {timeout_s:g} s"
