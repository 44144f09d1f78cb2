"""Subscribers of the fleet itself, in sessions that outlive their connections: what they got is held against the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emulator.fleet.connection import Connection

if TYPE_CHECKING:
    from emulator.fleet.client import Endpoint
    from emulator.fleet.observer import Observer
    from emulator.fleet.totals import Totals

TOPIC_FILTER = "devices/#"


class Watcher(Connection):
    """Subscribes to everything that devices say. `ready` is set with the first SUBACK."""

    def __init__(self, client_id: str, seed: int, endpoint: Endpoint, observer: Observer, totals: Totals) -> None:
        super().__init__(client_id, endpoint, seed, is_persistent=True)
        self.observer = observer
        self.ready = asyncio.Event()
        self._totals = totals
        self._client.on_subscribe = lambda *_: self.ready.set()

    def _opened(self, *, is_session_present: bool) -> None:
        self._totals.sessions_lost += self.connections > 1 and not is_session_present
        if not is_session_present:
            self._client.subscribe(TOPIC_FILTER, self.observer.qos)

    def _received(self, topic_name: str, payload: bytes, *, is_retain: bool) -> None:
        if not is_retain:  # [v5 MQTT-3.3.1-8]: it was there before
            self.observer.note(topic_name, payload)
