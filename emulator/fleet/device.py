"""One emulated device: what it publishes, what is not acknowledged yet, and its way back after a lost connection.

All of it runs in the event loop's thread: no thread per device, no lock.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from random import Random
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode

from emulator.fleet.backoff import Backoff
from emulator.fleet.client import LoopClient
from emulator.fleet.telemetry import Telemetry

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from emulator.fleet.arguments import Options
    from emulator.fleet.ledger import Ledger

STABLE_S = 5.0  # a connection that lasted this long starts the backoff anew
ONLINE, OFFLINE = b'{"online":true}', b'{"online":false}'


class NotConnectedError(Exception):
    """The attempt to connect failed; the message says why, for people."""


class Device:
    """Publishes readings to devices/ID/telemetry and its presence, retained and as a will, to devices/ID/status."""

    def __init__(self, device_id: str, options: Options, ledger: Ledger) -> None:
        self.device_id = device_id
        self.attempted = asyncio.Event()  # set once the first attempt to connect has ended
        self.is_connected = False  # whether the broker accepted the connection, and it is not known to be lost
        self._options = options
        self._ledger = ledger
        self._telemetry = Telemetry(options.seed, device_id)
        self._backoff = Backoff(Random(f"{options.seed}/{device_id}/backoff"))
        self._unfinished: dict[int, float] = {}  # packet id -> when sent; until the final answer, or at QoS 0 the write
        self._connections = 0
        self._is_leaving = False
        self._connack: asyncio.Future[ReasonCode] | None = None
        self._disconnected = asyncio.Event()
        self._client = self._new_client()

    async def connect(self) -> None:
        """Connect and say so on the status topic. Raises NotConnectedError."""
        try:
            reason_code = await self._handshake()
        except OSError as error:
            self._client.disconnect()
            raise NotConnectedError(_explain(error, self._options.connect_timeout_s)) from None
        finally:
            self.attempted.set()
        if reason_code.is_failure:
            raise NotConnectedError(f"the broker answered: {reason_code}")
        self._ledger.reconnects += self._connections > 0
        self._connections += 1
        if not self._is_leaving:
            self._publish("status", ONLINE, retain=True)

    async def stay_connected(self, dialling: asyncio.Semaphore) -> None:
        """Connect, and again after each loss, until cancelled; `dialling` bounds the fleet's attempts at once."""
        while True:
            connected_at_s = time.monotonic()
            try:
                async with dialling:
                    if not self.is_connected:
                        await self.connect()
                await self._disconnected.wait()
            except NotConnectedError:
                pass
            else:
                if time.monotonic() - connected_at_s >= STABLE_S:
                    self._backoff.reset()
            await asyncio.sleep(self._backoff.next_s())

    def publish_reading(self, now_s: float) -> None:
        """Take and publish one reading; skip it while not connected or with a full window."""
        if not self.is_connected or len(self._unfinished) >= self._options.window:
            self._ledger.skipped += 1
            return
        self._publish("telemetry", self._telemetry.reading(now_s))

    def say_goodbye(self) -> None:
        """Publish that the device is offline; it stays connected until `leave()`."""
        self._is_leaving = True
        if self.is_connected:
            self._publish("status", OFFLINE, retain=True)

    async def leave(self) -> None:
        """Disconnect in an orderly way, so that the will is not published."""
        if self.is_connected:
            self._client.disconnect()
            await self._disconnected.wait()

    def tend(self) -> None:
        """Keep the connection alive; call about once a second."""
        self._client.loop_misc()

    def _new_client(self) -> LoopClient:
        client = LoopClient(self.device_id, self._options)
        client.will_set(self._topic_name("status"), OFFLINE, self._options.qos, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_answer
        return client

    async def _handshake(self) -> ReasonCode:
        async with asyncio.timeout(self._options.connect_timeout_s):
            self._connack = asyncio.get_running_loop().create_future()
            self._disconnected.clear()
            await self._client.dial()
            return await self._connack

    def _publish(self, kind: str, payload: bytes, *, retain: bool = False) -> None:
        qos = self._options.qos
        info = self._client.publish(self._topic_name(kind), payload, qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS and qos == 0:
            self._ledger.skipped += 1
            return
        self._unfinished[info.mid] = time.monotonic()
        self._ledger.note_sent(is_awaited=qos > 0)

    def _topic_name(self, kind: str) -> str:
        return f"devices/{self.device_id}/{kind}"

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason_code: ReasonCode, _properties: Any) -> None:
        self.is_connected = not reason_code.is_failure
        if self._connack is not None and not self._connack.done():
            self._connack.set_result(reason_code)

    def _on_disconnect(self, *_details: Any) -> None:
        self.is_connected = False
        self._disconnected.set()
        if self._options.qos == 0:
            self._unfinished.clear()  # paho sends only QoS 1 and 2 again
        if self._connack is not None and not self._connack.done():
            self._connack.set_exception(ConnectionAbortedError("the broker closed the connection"))

    def _on_answer(self, _client: Any, _userdata: Any, mid: int, reason_code: ReasonCode, _properties: Any) -> None:
        sent_at_s = self._unfinished.pop(mid, None)
        if sent_at_s is not None and self._options.qos > 0:
            self._ledger.note_answer((time.monotonic() - sent_at_s) * 1000, is_failure=reason_code.is_failure)


def _explain(error: Exception, timeout_s: float) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "the host name is not known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # without the address that asyncio adds: the caller names it
    return str(error) or f"no answer within {timeout_s:g} s"
