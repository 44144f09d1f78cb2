"""amqtt's Session as plugins expect it, without its state machine, which is most of what a session costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtt.session import Session

if TYPE_CHECKING:
    import ssl

    from broker.host.interface import ClientFacts, SessionFacts


class SessionState:
    """The part of `session.transitions` that plugins read and call."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = "new"

    def is_new(self) -> bool:
        """Tell whether the client has not been accepted yet."""
        return self.state == "new"

    def is_connected(self) -> bool:
        """Tell whether the client is connected."""
        return self.state == "connected"

    def is_disconnected(self) -> bool:
        """Tell whether the network connection has ended."""
        return self.state == "disconnected"


class PluginSession(Session):  # type: ignore[misc]
    """An amqtt Session that the broker keeps up to date for plugins."""

    transitions: SessionState

    def _init_states(self) -> None:
        self.transitions = SessionState()

    def connected(self) -> None:
        """Note that the client was accepted."""
        self.transitions.state = "connected"
        self._on_enter_connected()

    def disconnected(self) -> None:
        """Note that the network connection has ended."""
        self.transitions.state = "disconnected"
        self._on_enter_disconnected()


@dataclass(frozen=True)
class TlsFacts:
    """A copy of what plugins ask an SSLObject, which may not be used in two threads at once."""

    certificate: dict[str, Any] | None
    certificate_der: bytes | None
    cipher_in_use: tuple[str, str, int] | None
    protocol: str | None

    @classmethod
    def of(cls, ssl_object: ssl.SSLObject) -> TlsFacts:
        """Copy the facts of a finished handshake."""
        return cls(
            ssl_object.getpeercert(),
            ssl_object.getpeercert(binary_form=True),
            ssl_object.cipher(),
            ssl_object.version(),
        )

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """Return the client's certificate, as `ssl.SSLObject.getpeercert`."""
        return self.certificate_der if binary_form else self.certificate

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use, as `ssl.SSLObject.cipher`."""
        return self.cipher_in_use

    def version(self) -> str | None:
        """Return the protocol's name, as `ssl.SSLObject.version`."""
        return self.protocol


def session_of_client(facts: ClientFacts) -> PluginSession:
    """Return the session of a CONNECT packet. Raises UnicodeDecodeError: amqtt's plugins know passwords as text only."""
    session = PluginSession()
    session.client_id = facts.client_id
    session.username = facts.username
    session.password = None if facts.password is None else facts.password.decode()
    session.remote_address, session.remote_port = facts.remote_address, facts.remote_port
    session.clean_session = facts.clean_start
    session.keep_alive = facts.keep_alive_s
    if facts.will is not None:
        session.will_flag, session.will_topic = True, facts.will.topic_name
        session.will_message, session.will_qos, session.will_retain = (
            facts.will.payload,
            facts.will.qos,
            facts.will.is_retain,
        )
    if facts.ssl_object is not None:
        session.ssl_object = TlsFacts.of(facts.ssl_object)
    return session


def session_of_facts(facts: SessionFacts) -> PluginSession:
    """Return the session of a client that plugins have not seen connecting."""
    session = PluginSession()
    session.client_id, session.username = facts.client_id, facts.username
    session.clean_session, session.keep_alive = facts.clean_start, facts.keep_alive_s
    session.transitions.state = "connected" if facts.is_connected else "disconnected"
    return session
