"""What an attack does its work with: many connections in one thread, bounded in number and time."""

from __future__ import annotations

import selectors
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.link import Link
from emulator.hostile.packets import V311

if TYPE_CHECKING:
    from typing import Any

    from emulator.hostile.target import Target

MAX_OPENING = 50
"""Connections without an answer at once: a listener's backlog takes that many, so no handshake is lost."""
QUIET_S = 2.0
ACKNOWLEDGEMENTS = ("SUBACK", "UNSUBACK", "PUBACK", "PUBREC")


class TimeIsUpError(Exception):
    """The attack has lasted as long as it may."""


class Attack:
    """One attack on `target` for at most `seconds`. `scale` is a factor on its counts; the seed decides what is random.

    `client_ids` and `topics`: persistent sessions and retained messages that it may have left.
    """

    def __init__(self, target: Target, *, seconds: float, scale: float = 1.0, seed: int = 1) -> None:
        self.target = target
        self.random = Random(seed)
        self.counts: Counter[str] = Counter()
        self.client_ids: list[bytes] = []
        self.topics: list[bytes] = []
        self.bytes_moved = 0
        self._scale = scale
        self._ends_s = time.monotonic() + seconds
        self._selector = selectors.DefaultSelector()
        self._opening: list[Link] = []
        self._links: list[Link] = []

    def count(self, number: int) -> int:
        """Return `number`, scaled; at least one."""
        return max(1, round(number * self._scale))

    def client(
        self, client_id: bytes, *, version: int = V311, is_persistent: bool = False, small: bool = False, **connect: Any
    ) -> Link:
        """Return a link that connects as an MQTT client; what it is given to send follows CONNACK.

        With MQTT 5 a persistent session stays for an hour. Raises TimeIsUpError.
        """
        if is_persistent:
            self.client_ids.append(client_id)
        words: dict[str, Any] = {**self.target.credentials, **connect}
        words |= {"version": version, "is_clean": not is_persistent, "expiry_s": 3600 if is_persistent else 0}
        return self.link(packets.connect(client_id, **words), version=version, small=small)

    def link(
        self,
        first: bytes = b"",
        *,
        version: int = V311,
        waits: bool = True,
        small: bool = False,
        is_to_dashboard: bool = False,
    ) -> Link:
        """Return a connection that sends `first`. Waits while many have no answer yet. Raises TimeIsUpError."""
        while len(self._opening) >= MAX_OPENING:
            self._turn(0.1)
            self._opening = [each for each in self._opening if each.is_opening]
        address = self.target.dashboard if is_to_dashboard else self.target.broker
        made = Link(
            address, self._selector, self.counts, first, version=version, waits=waits, has_small_buffer=small
        )  # fmt: skip
        self._opening.append(made)
        self._links.append(made)
        self._turn(0)
        return made

    def settle(self, quiet_s: float = QUIET_S, *, acknowledgements: int = 0) -> None:
        """Return when all is sent and nothing has come for `quiet_s`. Raises TimeIsUpError.

        While a connection is open, that many acknowledgements in all (of filters and publishes) are awaited as well.
        """
        quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < quiet_s:
            has_moved = self._turn(0.1)
            links = self.open_links()
            is_awaited = bool(links) and self._acknowledgements() < acknowledgements
            if has_moved or is_awaited or any(each.is_opening or each.has_more for each in links):
                quiet_since_s = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Go on sending and reading for `seconds`. Raises TimeIsUpError."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._turn(min(left_s, 0.1))

    def open_links(self) -> list[Link]:
        """Return the links that are open."""
        self._links = [each for each in self._links if each.is_open]
        return self._links

    def close(self) -> None:
        """Close all connections without a goodbye."""
        for each in self._links:
            each.close()
        self._selector.close()

    def _acknowledgements(self) -> int:
        return sum(number for name, number in self.counts.items() if name.startswith(ACKNOWLEDGEMENTS))

    def _turn(self, timeout_s: float) -> int:
        if time.monotonic() > self._ends_s:
            raise TimeIsUpError
        moved = 0
        for key, events in self._selector.select(timeout_s):
            moved += key.data.handle(events)
        self.bytes_moved += moved
        return moved
