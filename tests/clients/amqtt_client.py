"""amqtt's client: MQTT 3.1.1 over TCP, TLS and WebSocket, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from amqtt.client import MQTTClient
from amqtt.errors import ConnectError
from amqtt.mqtt.connack import ConnackPacket
from amqtt.plugins.base import BasePlugin
from foreign_client import Connect, ForeignClient, Received, RefusedError, Subscription

if TYPE_CHECKING:
    from event_loop_thread import EventLoopThread

SCHEMES = {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"}
PING_DELAY_S = 1


class ConnackReader(BasePlugin[Any]):
    """Keeps what amqtt's client does not tell: whether a session was present."""

    async def on_mqtt_packet_received(self, *, packet: Any, session: Any) -> None:
        if isinstance(packet, ConnackPacket):
            session.attributes["is_present"] = bool(packet.session_parent)


class ClosingClient(MQTTClient):
    """amqtt's client, which leaves the socket of a failed attempt to connect open: that would be a ResourceWarning."""

    async def _connect_coro(self) -> int:
        try:
            return await super()._connect_coro()
        except Exception:
            await self.close_writer()
            raise

    async def close_writer(self) -> None:
        """Close the socket if there is one."""
        if self._handler is not None and self._handler.writer is not None:
            await self._handler.writer.close()


class AmqttClient(ForeignClient):
    """One client of amqtt's."""

    def __init__(self, options: Connect, thread: EventLoopThread) -> None:
        super().__init__(options)
        self._thread = thread
        self._reader: asyncio.Task[None] | None = None
        self._published: list[asyncio.Task[Any]] = []
        self.client = thread.run(self._make())

    async def _make(self) -> ClosingClient:
        options, will = self.options, self.options.will
        config: dict[str, Any] = {
            "keep_alive": options.keep_alive_s + PING_DELAY_S,  # it asks for less, by its ping_delay
            "ping_delay": PING_DELAY_S,
            "auto_reconnect": options.reconnects,
            "reconnect_retries": -1,
            "reconnect_max_interval": 1,
            "plugins": {"amqtt_client.ConnackReader": {}},
        }
        if will is not None:
            wanted = {"topic": will.topic_name, "message": will.payload.decode(), "qos": will.qos}
            config["will"] = {**wanted, "retain": will.is_retain}
        return ClosingClient(options.client_id, config)

    def connect(self) -> bool:
        return self._thread.run(self._connect())

    async def _connect(self) -> bool:
        options = self.options
        credentials = "" if options.username is None else f"{options.username}:{options.password or ''}@"
        uri = f"{SCHEMES[options.door]}://{credentials}{options.host}:{options.port}/"
        authority = None if options.authority is None else str(options.authority)
        try:
            await self.client.connect(uri, not options.is_lasting, authority)
        except ConnectError as error:
            raise RefusedError(error.return_code) from error
        self._reader = asyncio.create_task(self._read())
        assert self.client.session is not None
        return bool(self.client.session.attributes["is_present"])

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while self.options.reconnects or self.client._connected_state.is_set():
                await self.client._connected_state.wait()
                message = await self.client.deliver_message()
                if message is not None:  # None: the connection is gone
                    qos, is_retain = message.qos, message.publish_packet.retain_flag
                    self._received.put(Received(message.topic, bytes(message.data), qos, is_retain, {}))
        self.ended.set()

    def start_publish(
        self, topic_name: str, payload: bytes, qos: int = 0, *, is_retain: bool = False, **_properties: Any
    ) -> None:
        async def publish() -> None:
            work = self.client.publish(topic_name, payload, qos, is_retain)
            self._published.append(asyncio.create_task(work))

        self._thread.run(publish())

    def await_published(self) -> None:
        async def published() -> None:
            await asyncio.gather(*self._published)
            self._published.clear()

        self._thread.run(published())

    def subscribe_with(self, subscription: Subscription) -> int:
        return self._thread.run(self.client.subscribe([(subscription.topic_filter, subscription.qos)]))[0]

    def unsubscribe(self, topic_filter: str) -> None:
        self._thread.run(self.client.unsubscribe([topic_filter]))

    def disconnect(self) -> None:
        self._thread.run(self._disconnect())

    async def _disconnect(self) -> None:
        reconnecting = self.client._disconnect_task
        await self.client.disconnect()
        for task in (self._reader, reconnecting):  # it would go on reconnecting
            if task is not None:
                task.cancel()
        await self.client.close_writer()
