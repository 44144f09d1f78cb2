"""What somebody saw of the fleet's messages: a subscriber, the store, a device that takes commands. Pure.

One byte a message: how often it came. Whether it came in order is judged as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.fleet.ledger import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from emulator.fleet.ledger import Kind, Ledger, Track

MAX_COUNT = 255
MAX_STRANGERS = 1000
MAX_REORDERED = 1000
ALL_KINDS: tuple[Kind, ...] = ("telemetry", "status", "answer", "command", "will")


class Seen:
    """What was seen of one track."""

    __slots__ = ("_counts", "_highest", "reordered")

    def __init__(self) -> None:
        self._counts = bytearray()
        self._highest = 0
        self.reordered: list[int] = []  # numbers first seen after a later one

    def note(self, numbers: list[int]) -> None:
        """Note one message: of those it may be, the first one not seen yet."""
        number = next((each for each in numbers if not self.count(each)), numbers[-1])
        if number > len(self._counts):
            self._counts.extend(bytes(number - len(self._counts)))
        is_first = not self._counts[number - 1]
        self._counts[number - 1] = min(MAX_COUNT, self._counts[number - 1] + 1)
        if not is_first or len(numbers) > 1:
            return
        if number < self._highest and len(self.reordered) < MAX_REORDERED:
            self.reordered.append(number)
        self._highest = max(self._highest, number)

    def count(self, number: int) -> int:
        """Return how often a message was seen."""
        return self._counts[number - 1] if 0 < number <= len(self._counts) else 0

    def repeated(self) -> list[int]:
        """Return which messages were seen more than once."""
        return [index + 1 for index, count in enumerate(self._counts) if count > 1]

    def lowest(self) -> int | None:
        """Return the first number seen at all."""
        return next((index + 1 for index, count in enumerate(self._counts) if count), None)


class Observer:
    """One who should see what the fleet sends; `qos` is what it subscribed with (the store: 2)."""

    is_store = False
    is_ordered = True
    """Whether one publisher's messages on one topic have to come in order."""
    is_whole = True
    """Whether everything has to be seen, and what is sent once, once."""

    def __init__(self, name: str, ledger: Ledger, qos: int, kinds: Collection[Kind] = ALL_KINDS) -> None:
        self.name = name
        self.qos = qos
        self.kinds = kinds
        self.strangers: dict[tuple[str, int], bytes] = {}  # topic and digest -> head of a payload that nobody sent
        self._ledger = ledger
        self._seen: dict[Track, Seen] = {}

    def note(self, topic_name: str, payload: bytes) -> None:
        """Note one message; those on topics that are not the fleet's are ignored."""
        found = self._ledger.find(topic_name, payload)
        if found is None:
            return
        track, numbers = found
        if numbers:
            self._seen.setdefault(track, Seen()).note(numbers)
        elif not self._ledger.unrecorded and len(self.strangers) < MAX_STRANGERS:
            self.strangers[topic_name, digest_of(payload)] = payload[:60]

    def seen(self, track: Track) -> Seen:
        """Return what was seen of a track."""
        return self._seen.get(track) or Seen()

    def was_stored(self, _track: Track, _number: int) -> bool | None:
        """Whether a message that is not seen may rightly be gone; None: unknown. A subscriber has no retention."""
        return False

    def forget(self, device_id: str) -> None:
        """Drop what was seen of a device: it is about to be looked at again."""
        for track in [each for each in self._seen if each.source.device_id == device_id]:
            del self._seen[track]


class StoreObserver(Observer):
    """The store as its API shows it at the end, and what was `followed` of it while the fleet ran.

    A history is bounded. `trimmed`: devices whose history has lost its beginning to that bound; `unread`: those that
    lost some before it was followed, of which nothing can be said.
    """

    is_store = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("the store", ledger, qos=2)
        self.followed = Observer("the store, while it ran", ledger, qos=2)
        self.trimmed: set[str] = set()
        self.unread: set[str] = set()

    def was_stored(self, track: Track, number: int) -> bool | None:
        """Whether a message that is not shown any more was stored once, and is beyond the retention; None: unknown."""
        lowest = self.seen(track).lowest()
        if track.source.device_id not in self.trimmed or (lowest is not None and number > lowest):
            return False
        if self.followed.seen(track).count(number):
            return True
        return None if track.source.device_id in self.unread else False
