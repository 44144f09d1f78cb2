"""paho-mqtt: MQTT 3.1, 3.1.1 and 5.0, over TCP, TLS and WebSocket, in a thread of its own."""

from __future__ import annotations

import queue
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from foreign_client import DEADLINE_S, V5, Connect, ForeignClient, Received, RefusedError, Subscription
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

NAMES = (
    "payload_format_indicator",
    "message_expiry_interval",
    "content_type",
    "response_topic",
    "correlation_data",
    "subscription_identifier",
    "user_property",
)


def camel_case(name: str) -> str:
    return name.title().replace("_", "")


class PahoClient(ForeignClient):
    """One paho-mqtt client."""

    def __init__(self, options: Connect) -> None:
        super().__init__(options)
        self._started = self._finished = 0
        self._connacks: queue.Queue[tuple[bool, ReasonCode]] = queue.Queue()
        self._subacks: queue.Queue[int] = queue.Queue()
        self._unsubacks: queue.Queue[None] = queue.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            options.client_id,
            clean_session=None if options.version == V5 else not options.is_lasting,
            protocol=MQTTProtocolVersion(options.version),
            transport="websockets" if options.door.startswith("ws") else "tcp",
            reconnect_on_failure=options.reconnects,
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(1000)
        self._set_callbacks()
        self._set_options()

    def _set_callbacks(self) -> None:
        client = self.client
        client.on_connect = lambda _c, _u, flags, code, _p: self._connacks.put((flags.session_present, code))
        client.on_subscribe = lambda _c, _u, _m, codes, _p: self._subacks.put(codes[0].value)
        client.on_unsubscribe = lambda *_: self._unsubacks.put(None)
        client.on_pre_connect = lambda *_: self._await_broker()
        client.on_publish = lambda *_: self._publish_finished()
        client.on_message = lambda _c, _u, message: self._received.put(received(message))
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._disconnected(code)

    def _set_options(self) -> None:
        options, will = self.options, self.options.will
        if options.username is not None:
            self.client.username_pw_set(options.username, options.password)
        if options.door in ("tls", "wss"):
            self.client.tls_set(str(options.authority))
        if will is not None:
            properties = self._properties(PacketTypes.WILLMESSAGE, will.properties)
            self.client.will_set(will.topic_name, will.payload, will.qos, will.is_retain, properties)

    def _await_broker(self) -> None:
        # A second attempt to reconnect would make paho forget that it had PUBREC, and publish with QoS 2 once more.
        eventually(self._listens, "the broker listens", DEADLINE_S)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.options.host, self.options.port)) == 0

    def _publish_finished(self) -> None:
        self._finished += 1

    def _disconnected(self, code: ReasonCode) -> None:
        self.end_reason_code = code.value
        self.ended.set()

    def _properties(self, packet_type: int, values: dict[str, Any]) -> Properties | None:
        if self.options.version != V5:
            return None
        properties = Properties(packet_type)
        for name, value in values.items():
            setattr(properties, camel_case(name), value)
        return properties

    def connect(self) -> bool:
        options = self.options
        self.client.connect(
            options.host,
            options.port,
            options.keep_alive_s,
            clean_start=not options.is_lasting if options.version == V5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=self._properties(PacketTypes.CONNECT, options.properties),
        )
        self.client.loop_start()
        is_present, code = self._connacks.get(timeout=DEADLINE_S)
        if code.is_failure:
            raise RefusedError(code.value)
        return is_present

    def start_publish(
        self, topic_name: str, payload: bytes, qos: int = 0, *, is_retain: bool = False, **properties: Any
    ) -> None:
        sent = self._properties(PacketTypes.PUBLISH, properties)
        self._started += 1
        self.client.publish(topic_name, payload, qos, is_retain, sent)

    def await_published(self) -> None:
        eventually(lambda: self._finished == self._started, "every publish is acknowledged", DEADLINE_S)

    def subscribe_with(self, subscription: Subscription) -> int:
        wanted = subscription
        if self.options.version == V5:
            options = SubscribeOptions(
                wanted.qos, wanted.is_no_local, wanted.retain_as_published, wanted.retain_handling
            )
            identifier = {} if wanted.identifier is None else {"subscription_identifier": wanted.identifier}
            properties = self._properties(PacketTypes.SUBSCRIBE, identifier)
            self.client.subscribe(wanted.topic_filter, options=options, properties=properties)
        else:
            self.client.subscribe(wanted.topic_filter, wanted.qos)
        return self._subacks.get(timeout=DEADLINE_S)

    def unsubscribe(self, topic_filter: str) -> None:
        self.client.unsubscribe(topic_filter)
        self._unsubacks.get(timeout=DEADLINE_S)

    def disconnect(self) -> None:
        self.client.disconnect()
        with suppress(AttributeError):  # paho's thread may end, and be forgotten, between its look and its wait
            self.client.loop_stop()


def received(message: paho.MQTTMessage) -> Received:
    """Return what paho delivers in the tests' own terms."""
    found = {name: getattr(message.properties, camel_case(name), None) for name in NAMES}
    properties = {name: value for name, value in found.items() if value is not None}
    return Received(message.topic, bytes(message.payload), message.qos, message.retain, properties)
