"""What the fleet sent, message by message: the fleet's own word, that stores and subscribers are held against.

A message takes 9 bytes here (8 of its payload's digest, 1 of flags), so a run of ten million fits; beyond the bound
nothing more is kept, and the verdict says so. With a file, every event is written down for others to judge (NDJSON).
"""

from __future__ import annotations

import json
import re
import time
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["telemetry", "status", "answer", "command", "will"]

MAX_MESSAGES = 10_000_000
DIGEST_BYTES = 8
SENT, ACKNOWLEDGED = 1, 2
_MARK = re.compile(rb'"(seq|will)":(\d{1,9})\b')


class Source(NamedTuple):
    """Who publishes on a topic, and how. `is_once`: at QoS 2, in a session that outlives its connections."""

    topic_name: str
    device_id: str
    client_id: str
    qos: int
    kind: Kind
    is_once: bool


class Track:
    """The messages of one publisher on one topic, numbered from 1 in the order they were made."""

    __slots__ = ("_digests", "_flags", "_unmarked", "made", "payload_bytes", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.made = 0
        self.payload_bytes = 0
        self._digests = array("Q")
        self._flags = bytearray()
        self._unmarked: dict[int, list[int]] = {}  # digest -> numbers, of payloads that do not carry their own

    @property
    def next(self) -> int:
        """The number that the next message has to carry."""
        return self.made + 1

    @property
    def recorded(self) -> int:
        """How many messages are kept here: all that were made, unless the ledger is full."""
        return len(self._digests)

    def record(self, payload: bytes) -> None:
        """Keep what message `made` is."""
        digest = digest_of(payload)
        self._digests.append(digest)
        self._flags.append(0)
        if _mark_of(payload) != (self.source.kind == "will", self.made):
            self._unmarked.setdefault(digest, []).append(self.made)

    def flag(self, number: int, flag: int) -> None:
        """Note what became of a message."""
        if number <= len(self._flags):
            self._flags[number - 1] |= flag

    def numbers(self, flag: int) -> Iterator[int]:
        """Return the numbers of all messages with a flag."""
        return (index + 1 for index, flags in enumerate(self._flags) if flags & flag)

    def numbers_of(self, payload: bytes) -> list[int]:
        """Return which messages had exactly this payload: mostly one; several of those that do not carry their own."""
        digest = digest_of(payload)
        mark = _mark_of(payload)
        others = self._unmarked.get(digest, [])
        if mark is not None and 0 < mark[1] <= self.recorded and self._digests[mark[1] - 1] == digest:
            return [mark[1], *others]
        return others


class Ledger:
    """All tracks of a fleet. `max_messages` 0: nothing is kept, only numbered."""

    def __init__(self, max_messages: int = MAX_MESSAGES, file: TextIO | None = None) -> None:
        self.unrecorded = 0
        self._left = self._max_messages = max_messages
        self._file = file
        self._tracks: dict[tuple[str, bool], Track] = {}

    @property
    def tracks(self) -> list[Track]:
        """All of them."""
        return list(self._tracks.values())

    def track(self, source: Source) -> Track:
        """Return the track of a publisher on a topic; a will has one of its own."""
        return self._tracks.setdefault((source.topic_name, source.kind == "will"), Track(source))

    def make(self, track: Track, payload: bytes) -> int:
        """Enter a message that was just made, and return its number: the payload should carry it as `seq` or `will`."""
        track.made += 1
        track.payload_bytes += len(payload)
        self._write("will" if track.source.kind == "will" else "publish", track, track.made, payload)
        if self._left:
            self._left -= 1
            track.record(payload)
        elif self._max_messages:
            self.unrecorded += 1
        return track.made

    def note_sent(self, track: Track, number: int) -> None:
        """Note that a message was handed to the network: from now on it may be seen."""
        track.flag(number, SENT)

    def note_acknowledged(self, track: Track, number: int) -> None:
        """Note that a message is the broker's now; of a will: that the broker has to publish it."""
        track.flag(number, ACKNOWLEDGED)
        self._write("due" if track.source.kind == "will" else "acknowledge", track, number)

    def find(self, topic_name: str, payload: bytes) -> tuple[Track, list[int]] | None:
        """Return whose message this is, and which: no number where nobody sent it so. None: no topic of the fleet."""
        mark = _mark_of(payload)
        is_will = mark is not None and mark[0]
        track = self._tracks.get((topic_name, is_will)) or self._tracks.get((topic_name, not is_will))
        return None if track is None else (track, track.numbers_of(payload))

    def flush(self) -> None:
        """Write what is buffered to the file."""
        if self._file is not None:
            self._file.flush()

    def _write(self, event: str, track: Track, number: int, payload: bytes | None = None) -> None:
        if self._file is None:
            return
        source = track.source
        line: dict[str, Any] = {"event": event, "at_ms": time.time_ns() // 1_000_000}
        line |= {"topic": source.topic_name, "seq": number}
        if payload is not None:
            line |= {"device": source.device_id, "client": source.client_id, "qos": source.qos, "kind": source.kind}
            line |= {"bytes": len(payload), "digest": f"{digest_of(payload):016x}"}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def digest_of(payload: bytes) -> int:
    """Return the payload's BLAKE2b digest of 8 bytes, as a number."""
    return int.from_bytes(blake2b(payload, digest_size=DIGEST_BYTES).digest(), "big")


def _mark_of(payload: bytes) -> tuple[bool, int] | None:
    found = _MARK.search(payload)
    return None if found is None else (found[1] == b"will", int(found[2]))
