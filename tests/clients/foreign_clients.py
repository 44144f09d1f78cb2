"""The table of clients that others wrote: which library in which version of MQTT, and through which doors it can go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from amqtt_client import AmqttClient
from event_loop_thread import EventLoopThread
from mqttjs_client import MqttJsClient, NodeProcess
from paho_client import PahoClient

if TYPE_CHECKING:
    from foreign_client import Connect, ForeignClient


class Runtimes:
    """Where clients live that do not bring a thread of their own; each is started when the first client needs it."""

    @cached_property
    def event_loop(self) -> EventLoopThread:
        return EventLoopThread()

    @cached_property
    def node(self) -> NodeProcess:
        return NodeProcess()

    def close(self) -> None:
        for started in vars(self).values():
            started.close()


Maker = Callable[["Connect", Runtimes], "ForeignClient"]


@dataclass(frozen=True)
class Library:
    """A client library."""

    make: Maker
    versions: tuple[int, ...]
    doors: tuple[str, ...]


LIBRARIES = {
    "paho": Library(lambda options, _: PahoClient(options), (3, 4, 5), ("tcp", "tls", "ws", "wss")),
    "mqttjs": Library(
        lambda options, runtimes: MqttJsClient(options, runtimes.node), (3, 4, 5), ("tcp", "tls", "ws", "wss")
    ),
    "amqtt": Library(
        lambda options, runtimes: AmqttClient(options, runtimes.event_loop), (4,), ("tcp", "tls", "ws", "wss")
    ),
}


@dataclass(frozen=True)
class Kind:
    """One library in one version of MQTT."""

    library: str
    version: int

    def __str__(self) -> str:
        return f"{self.library}-{ {3: '3.1', 4: '3.1.1', 5: '5'}[self.version] }"

    def make(self, options: Connect, runtimes: Runtimes) -> ForeignClient:
        return LIBRARIES[self.library].make(options, runtimes)


KINDS = [Kind(name, version) for name, library in LIBRARIES.items() for version in library.versions]
KINDS_OF_5 = [kind for kind in KINDS if kind.version == 5]
THROUGH_DOORS = [(kind, door) for kind in KINDS for door in LIBRARIES[kind.library].doors if door != "tcp"]
