"""MQTT.js: MQTT 3.1, 3.1.1 and 5.0 over TCP, TLS and WebSocket; its clients live in one Node.js process."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreign_client import DEADLINE_S, V5, Connect, ForeignClient, Received, RefusedError, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
SCHEMES = {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"}
OUR_NAMES = {
    "payloadFormatIndicator": "payload_format_indicator",
    "messageExpiryInterval": "message_expiry_interval",
    "contentType": "content_type",
    "responseTopic": "response_topic",
    "correlationData": "correlation_data",
    "subscriptionIdentifier": "subscription_identifier",
    "userProperties": "user_property",
    "topicAlias": "topic_alias",
    "willDelayInterval": "will_delay_interval",
    "sessionExpiryInterval": "session_expiry_interval",
    "receiveMaximum": "receive_maximum",
}
ITS_NAMES = {ours: its for its, ours in OUR_NAMES.items()}
Event = dict[str, Any]


class NodeProcess:
    """mqttjs_driver.js: takes commands from any thread, hands events to the client that they are for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(FOLDER / "mqttjs_driver.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[Any]] = {}
        self._listeners: dict[str, Callable[[Event], None]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def listen(self, listener: Callable[[Event], None]) -> str:
        """Return the name of a new client whose events go to `listener`."""
        name = str(next(self._numbers))
        self._listeners[name] = listener
        return name

    def start(self, command: str, client: str, **arguments: Any) -> Future[Any]:
        """Send a command; the future has its result, or RefusedError with the code of a refusal."""
        number, answer = next(self._numbers), Future[Any]()
        self._answers[number] = answer
        line = json.dumps({"number": number, "client": client, "do": command, **arguments})
        with self._lock:
            assert self._process.stdin is not None
            print(line, file=self._process.stdin, flush=True)
        return answer

    def close(self) -> None:
        """End the process."""
        with self._process:
            self._process.kill()
        self._reader.join(DEADLINE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if "number" not in event:
                self._listeners[event["client"]](event)
            elif "error" not in event:
                self._answers.pop(event["number"]).set_result(event["result"])
            elif event["code"] is not None:
                self._answers.pop(event["number"]).set_exception(RefusedError(event["code"]))
            else:
                self._answers.pop(event["number"]).set_exception(OSError(event["error"]))


class MqttJsClient(ForeignClient):
    """One MQTT.js client."""

    def __init__(self, options: Connect, node: NodeProcess) -> None:
        super().__init__(options)
        self._node = node
        self._published: list[Future[Any]] = []
        self._name = node.listen(self._happened)

    def _happened(self, event: Event) -> None:
        if event["event"] == "message":
            payload, properties = base64.b64decode(event["payload"]), read_properties(event.get("properties", {}))
            self._received.put(Received(event["topic"], payload, event["qos"], event["retain"], properties))
        elif event["event"] == "disconnect":
            self.end_reason_code = event["code"]
        else:
            self.ended.set()

    def connect(self) -> bool:
        options, will = self.options, self.options.will
        arguments: dict[str, Any] = {"options": connect_options(options)}
        if options.authority is not None:
            arguments["authority"] = str(options.authority)
        if will is not None:
            payload = base64.b64encode(will.payload).decode()
            arguments["will"] = {"topic": will.topic_name, "payload": payload, "qos": will.qos}
            arguments["will"] |= {"retain": will.is_retain, "properties": to_properties(will.properties)}
        is_present: bool = self._do("connect", **arguments)
        return is_present

    def start_publish(
        self, topic_name: str, payload: bytes, qos: int = 0, *, is_retain: bool = False, **properties: Any
    ) -> None:
        options = {"qos": qos, "retain": is_retain, "properties": to_properties(properties)}
        data = base64.b64encode(payload).decode()
        answer = self._node.start("publish", self._name, topic=topic_name, payload=data, options=options)
        self._published.append(answer)

    def await_published(self) -> None:
        while self._published:
            self._published.pop(0).result(DEADLINE_S)

    def subscribe_with(self, subscription: Subscription) -> int:
        wanted = subscription
        options: dict[str, Any] = {"qos": wanted.qos}
        if self.options.version == V5:
            options |= {"nl": wanted.is_no_local, "rap": wanted.retain_as_published, "rh": wanted.retain_handling}
        if wanted.identifier is not None:
            options["properties"] = {"subscriptionIdentifier": wanted.identifier}
        code: int = self._do("subscribe", filter=wanted.topic_filter, options=options)
        return code

    def unsubscribe(self, topic_filter: str) -> None:
        self._do("unsubscribe", filter=topic_filter)

    def disconnect(self) -> None:
        self._do("end")

    def _do(self, command: str, **arguments: Any) -> Any:
        return self._node.start(command, self._name, **arguments).result(DEADLINE_S)


def connect_options(options: Connect) -> dict[str, Any]:
    """Return what MQTT.js wants to be told about a connection."""
    wanted: dict[str, Any] = {
        "protocol": SCHEMES[options.door],
        "host": options.host,
        "port": options.port,
        "protocolVersion": options.version,
        "protocolId": "MQIsdp" if options.version == 3 else "MQTT",
        "clientId": options.client_id,
        "clean": not options.is_lasting,
        "keepalive": options.keep_alive_s,
        "reconnectPeriod": 200 if options.reconnects else 0,
        "properties": to_properties(options.properties),
    }
    if options.username is not None:
        wanted |= {"username": options.username, "password": options.password}
    return wanted


def to_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties as the driver wants them."""
    made = {ITS_NAMES[name]: value for name, value in properties.items()}
    if "correlationData" in made:
        made["correlationData"] = base64.b64encode(made["correlationData"]).decode()
    if "payloadFormatIndicator" in made:
        made["payloadFormatIndicator"] = bool(made["payloadFormatIndicator"])
    if "userProperties" in made:
        pairs: dict[str, list[str]] = {}
        for key, value in made["userProperties"]:
            pairs.setdefault(key, []).append(value)
        made["userProperties"] = pairs
    return made


def read_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of a message that MQTT.js delivered, by the specification's names."""
    read = {OUR_NAMES[name]: value for name, value in properties.items()}
    if "correlation_data" in read:
        read["correlation_data"] = bytes(read["correlation_data"]["data"])
    if "payload_format_indicator" in read:
        read["payload_format_indicator"] = int(read["payload_format_indicator"])
    if isinstance(read.get("subscription_identifier"), int):
        read["subscription_identifier"] = [read["subscription_identifier"]]
    if "user_property" in read:
        found = read["user_property"].items()
        read["user_property"] = [
            (key, each) for key, value in found for each in (value if isinstance(value, list) else [value])
        ]
    return read
