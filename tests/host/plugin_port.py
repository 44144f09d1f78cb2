"""A broker behind the plugin host that writes down what plugins do to it, and clients for it to judge."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.host.interface import ClientFacts, SessionFacts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

TIMEOUT_S = 5.0
PATIENCE_S = 10.0


@dataclass
class RecordingPort:
    """The broker, as far as plugins can tell."""

    published: list[tuple[str, bytes, int, bool]] = field(default_factory=list)
    known: list[SessionFacts] = field(default_factory=list)
    subscribed: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def publish(self, topic_name: str, payload: bytes, qos: int, *, is_retain: bool) -> None:
        self.published.append((topic_name, payload, qos, is_retain))

    def sessions(self) -> list[SessionFacts]:
        return self.known

    def session(self, client_id: str) -> SessionFacts | None:
        return next((facts for facts in self.known if facts.client_id == client_id), None)

    def subscriptions(self) -> dict[str, list[tuple[str, int]]]:
        return self.subscribed


def facts(
    username: str | None = None,
    password: bytes | None = None,
    client_id: str = "client-1",
    ssl_object: ssl.SSLObject | None = None,
) -> ClientFacts:
    return ClientFacts(client_id, username, password, "127.0.0.1", 40_000, True, 60, ssl_object=ssl_object)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens in another thread
            await asyncio.sleep(0.005)
