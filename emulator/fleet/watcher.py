"""Subscribers of the fleet itself: what they got is held against the ledger.

One that is alone in a lasting session sees everything, in order. Members of a group see everything together. One whose
session ends with its connection sees, in order, what came while it was connected.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emulator.fleet.connection import Connection
from emulator.fleet.observer import Observer

if TYPE_CHECKING:
    from emulator.fleet.client import Endpoint
    from emulator.fleet.ledger import Ledger
    from emulator.fleet.scenario import Watchers
    from emulator.fleet.totals import Totals

TOPIC_FILTER = "devices/#"


class Watched(Observer):
    """What one watcher saw, or all members of a group."""

    def __init__(self, name: str, ledger: Ledger, watchers: Watchers) -> None:
        super().__init__(name, ledger, watchers.qos)
        self.is_group = watchers.members > 1
        self.is_ordered = not self.is_group
        self.is_whole = self.is_persistent = watchers.is_persistent
        self.topic_filter = f"$share/{name}/{TOPIC_FILTER}" if self.is_group else TOPIC_FILTER


class Watcher(Connection):
    """Subscribes to everything that devices say. `ready` is set with the first SUBACK."""

    def __init__(self, client_id: str, seed: int, endpoint: Endpoint, observer: Watched, totals: Totals) -> None:
        super().__init__(client_id, endpoint, seed, is_persistent=observer.is_persistent)
        self.observer = observer
        self.ready = asyncio.Event()
        self._totals = totals
        self._client.on_subscribe = lambda *_: self.ready.set()

    def _opened(self, *, is_session_present: bool) -> None:
        self._totals.sessions_lost += self.is_persistent and self.connections > 1 and not is_session_present
        if not is_session_present:
            self._client.subscribe(self.observer.topic_filter, self.observer.qos)

    def _received(self, topic_name: str, payload: bytes, *, is_retain: bool) -> None:
        if not is_retain:  # [v5 MQTT-3.3.1-8]: it was there before
            self.observer.note(topic_name, payload)
