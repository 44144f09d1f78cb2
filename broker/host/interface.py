"""What the broker and its plugins tell each other, in words of our own.

No amqtt here, so that a broker without plugins never loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping, Sequence


class PluginConfigurationError(ValueError):
    """BROKER_CONFIG cannot be used; `problems` holds one line for each bad value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Action(StrEnum):
    """What a client wants to do with a topic; the values are amqtt's."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    RECEIVE = "receive"

    __hash__ = str.__hash__  # Enum's own is Python code, and `cached` hashes an action for each message


class Event(StrEnum):
    """What plugins can listen to; the values are amqtt's. `on_mqtt_packet_…` is not among them (docs/plugins.md)."""

    PRE_START = "broker_pre_start"
    POST_START = "broker_post_start"
    PRE_SHUTDOWN = "broker_pre_shutdown"
    POST_SHUTDOWN = "broker_post_shutdown"
    CLIENT_CONNECTED = "broker_client_connected"
    CLIENT_DISCONNECTED = "broker_client_disconnected"
    CLIENT_SUBSCRIBED = "broker_client_subscribed"
    CLIENT_UNSUBSCRIBED = "broker_client_unsubscribed"
    RETAINED_MESSAGE = "broker_retained_message"
    MESSAGE_RECEIVED = "broker_message_received"
    MESSAGE_BROADCAST = "broker_message_broadcast"


@dataclass(frozen=True, slots=True)
class WillFacts:
    """The will of a CONNECT packet (§3.1.2.5)."""

    topic_name: str
    payload: bytes
    qos: int
    is_retain: bool


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What a CONNECT packet and its network connection say; `client_id` is the assigned one where the client sent none."""

    client_id: str
    username: str | None
    password: bytes | None
    remote_address: str
    remote_port: int
    clean_start: bool
    keep_alive_s: int
    will: WillFacts | None = None
    ssl_object: ssl.SSLObject | None = None


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """One session of this node, connected or not."""

    client_id: str
    username: str | None
    is_connected: bool
    clean_start: bool = True
    keep_alive_s: int = 0


@dataclass(frozen=True, slots=True)
class PublishFacts:
    """A message, as plugins are told of it; `packet_id` where it comes with its PUBLISH packet."""

    client_id: str
    topic_name: str
    payload: bytes
    qos: int
    is_retain: bool
    packet_id: int | None = None


class BrokerPort(Protocol):
    """What plugins may do with the broker. Every method is called in the broker's event loop and must not block."""

    def publish(self, topic_name: str, payload: bytes, qos: int, *, is_retain: bool) -> None:
        """Take a message as if a client had published it; `topic_name` is valid. An empty retained payload clears."""

    def sessions(self) -> Iterable[SessionFacts]:
        """Return the sessions of this node."""

    def session(self, client_id: str) -> SessionFacts | None:
        """Return one session of this node, None where there is none."""

    def subscriptions(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """Return client id and maximum QoS of each subscriber, by topic filter."""
