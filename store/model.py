"""Plain data that broker and dashboard agree on: messages, devices, nodes.

No I/O here. Times are milliseconds since the epoch (UTC) and end in `_ms`.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import msgspec

QOS_MASK = 0b011
RETAIN_FLAG = 0b100
DUP_FLAG = 0b1000


class Message(msgspec.Struct, array_like=True, gc=False):
    """One application message as the ingest log keeps it.

    `flags`: QoS in bits 0-1 as published, RETAIN in bit 2, DUP in bit 3.
    `properties`: the MQTT 5 PUBLISH properties that travel on, as they stood on the wire; empty for 3.x.
    """

    topic_name: str
    client_id: str
    received_ms: int
    flags: int
    payload: bytes
    properties: bytes = b""

    @property
    def qos(self) -> int:
        """0, 1 or 2."""
        return self.flags & QOS_MASK

    @property
    def is_retain(self) -> bool:
        """Whether the publisher asked to retain it."""
        return bool(self.flags & RETAIN_FLAG)


class MessageId(NamedTuple):
    """Where a message stands in the ingest log; ordered as published.

    `ms` and `seq` are the two halves of a Redis stream id: `seq` carries the log entry's own
    sequence number in its upper bits and the message's index in that entry in the lower 16.
    """

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> MessageId:
        """Read `ms-seq`. Raises ValueError for anything else."""
        ms, _, seq = text.partition("-")
        if not (ms.isascii() and ms.isdigit() and seq.isascii() and seq.isdigit() and len(ms) < 16 and len(seq) < 16):
            raise ValueError(f"{text!r} is not a message id")
        return cls(int(ms), int(seq))

    @classmethod
    def of(cls, log_id: bytes, index: int) -> MessageId:
        """Return the id of message `index` in the log entry `log_id` (b"ms-seq")."""
        ms, _, seq = log_id.partition(b"-")
        return cls(int(ms), (int(seq) << INDEX_BITS) | index)

    @property
    def log_id(self) -> str:
        """The id of the log entry this message stands in."""
        return f"{self.ms}-{self.seq >> INDEX_BITS}"


START = MessageId(0, 0)
"""Before every message."""

INDEX_BITS = 16
MAX_FRAME_MESSAGES = 1 << INDEX_BITS
MAX_DEVICE_ID_LENGTH = 256  # characters; of one that names itself now MAX_DEVICE_ID_BYTES
MAX_DEVICE_ID_BYTES = 256
CACHE_PLACE_BYTES = 100  # of an entry in a dictionary, about
OTHER_DEVICES = "(other devices)"
"""The collective device: messages of devices beyond MAX_DEVICES are shown as its own."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Message])

encode_frame = _encoder.encode
"""Frame a list of `Message` (at most MAX_FRAME_MESSAGES) as one msgpack value: one entry of the log or of a device's history."""

decode_frame = _decoder.decode
"""Read back what `encode_frame` made. Raises msgspec.DecodeError for anything else."""


class DeviceNaming:
    """Tell which device a message belongs to, from its topic name or else its client id.

    A pattern is a topic filter in which one level is `{device}`; the first that matches names the device.
    Answers are cached: CACHE_BYTES of them at most, for topics of up to LARGEST_CACHED characters.
    """

    CACHE_BYTES = 1024 * 1024
    LARGEST_CACHED = 512

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = [tuple(pattern.split("/")) for pattern in patterns]
        self._known: dict[str, str] = {}
        self._known_bytes = 0

    def device_of(self, topic_name: str, client_id: str) -> str:
        """Return the device's id: 1 to MAX_DEVICE_ID_BYTES bytes of UTF-8."""
        known = self._known.get(topic_name)
        if known is None:
            known = self._match(topic_name)
            if len(topic_name) <= self.LARGEST_CACHED:
                self._remember(topic_name, known)
        return known or _cut(client_id)

    def _remember(self, topic_name: str, device: str) -> None:
        size_bytes = sys.getsizeof(topic_name) + sys.getsizeof(device) + CACHE_PLACE_BYTES
        if self._known_bytes + size_bytes > self.CACHE_BYTES:
            self._known.clear()
            self._known_bytes = 0
        self._known_bytes += size_bytes
        self._known[topic_name] = device

    def _match(self, topic_name: str) -> str:
        levels = topic_name.split("/")
        for pattern in self._patterns:
            device = _device_level(pattern, levels)
            if device and _cut(device) == device:
                return device
        return ""


def _cut(name: str) -> str:
    """Return as much of a name as MAX_DEVICE_ID_BYTES hold."""
    if 4 * len(name) <= MAX_DEVICE_ID_BYTES:
        return name
    return name.encode()[:MAX_DEVICE_ID_BYTES].decode(errors="ignore")


def _device_level(pattern: tuple[str, ...], levels: list[str]) -> str:
    device = ""
    for position, part in enumerate(pattern):
        if part == "#":
            return device
        if position >= len(levels):
            return ""
        if part == "{device}":
            device = levels[position]
        elif part not in ("+", levels[position]):
            return ""
    return device if len(levels) == len(pattern) else ""
