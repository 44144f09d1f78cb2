"""Someone else's broker on a free port of 127.0.0.1, and a subscriber that keeps what it receives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USERNAME, PASSWORD = "fleet", "right"


def await_condition(condition: Callable[[], object], what: str, timeout_s: float = 10) -> None:
    """Poll until `condition` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


class Mosquitto:
    """One mosquitto process; a stopped one starts again on the same port with the sessions it had."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"tcp://{USERNAME}:{PASSWORD}@127.0.0.1:{self.port}"
        self.log = folder / "mosquitto.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(["mosquitto_passwd", "-c", "-b", str(folder / "passwords"), USERNAME, PASSWORD], check=True)
        (folder / "acl").write_text(f"user {USERNAME}\ntopic readwrite #\ntopic deny devices/denied-0001/telemetry\n")
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\npassword_file {folder}/passwords\nacl_file {folder}/acl\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\nlog_type all\n"
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = ["/usr/sbin/mosquitto", "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await_condition(self._answers, "mosquitto listens")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


class Subscriber:
    """Keeps (topic name, payload, retain) of every message; its session survives a restart of the broker."""

    def __init__(self, port: int, topic_filter: str = "devices/#", client_id: str = "watcher") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._topic_filter = topic_filter
        self._subscribed = threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
        client.username_pw_set(USERNAME, PASSWORD)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.connect("127.0.0.1", port)
        client.loop_start()
        self._client = client
        assert self._subscribed.wait(10)

    def received(self, kind: str) -> list[tuple[str, bytes]]:
        return [(name, payload) for name, payload, _ in list(self.messages) if name.endswith(f"/{kind}")]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._topic_filter, qos=2)

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.retain))
