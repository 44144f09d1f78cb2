"""Somebody who sends commands to the devices of the fleet, as an operator's application would."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from emulator.fleet.ledger import Source
from emulator.fleet.publisher import Publisher

if TYPE_CHECKING:
    from emulator.fleet.client import Endpoint
    from emulator.fleet.publisher import Books
    from emulator.fleet.scenario import Group


class Commander(Publisher):
    """Publishes to devices/ID/commands/echo. Only to devices that have subscribed in a session that lasts."""

    def __init__(self, client_id: str, group: Group, seed: int, endpoint: Endpoint, books: Books) -> None:
        super().__init__(client_id, [], group, seed, endpoint, books)
        self._random = Random(f"{seed}/commands")

    def command_one_of(self, publishers: list[Publisher]) -> None:
        """Send the next command to some device, if any listens."""
        listening = [each for each in publishers if each.is_subscribed and each.is_persistent]
        if not listening:
            return
        device_id = self._random.choice(self._random.choice(listening).device_ids)
        topic_name, qos = f"devices/{device_id}/commands/echo", self._group.qos
        track = self._ledger.track(Source(topic_name, device_id, self.client_id, qos, "command", qos == 2))
        self.publish(track, lambda seq: b'{"command":"echo","seq":%d}' % seq)
