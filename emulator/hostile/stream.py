"""Bytes from a server to packets, and what they answer, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.hostile import packets
from emulator.hostile.packets import V5

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {
    packets.CONNACK: "CONNACK",
    packets.PUBLISH: "PUBLISH",
    packets.PUBACK: "PUBACK",
    packets.PUBREC: "PUBREC",
    packets.PUBREL: "PUBREL",
    packets.PUBCOMP: "PUBCOMP",
    packets.SUBACK: "SUBACK",
    packets.UNSUBACK: "UNSUBACK",
    13: "PINGRESP",
    packets.DISCONNECT: "DISCONNECT",
}


class PacketStream:
    """Takes bytes as they come; gives complete packets as (first byte, body)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the packets that `data` completes. Raises ValueError when it cannot be MQTT."""
        data = self._rest + data if self._rest else data
        at = 0
        while (end := _end_of(data, at)) is not None:
            start, stop = end
            if stop > len(data):
                break
            yield data[at], data[start:stop]
            at = stop
        self._rest = data[at:]


def _end_of(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `at` starts and stops; None: its header has not arrived whole."""
    length, shift = 0, 0
    for place in range(at + 1, min(at + 5, len(data))):
        length |= (data[place] & 0x7F) << shift
        shift += 7
        if not data[place] & 0x80:
            return place + 1, place + 1 + length
    if len(data) - at > 4:
        raise ValueError("no MQTT")
    return None


def after_length(body: bytes, at: int) -> int:
    """Return where what follows the properties at `at` starts."""
    length, shift = 0, 0
    while True:
        digit = body[at]
        length |= (digit & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not digit & 0x80:
            return at + length


def answers(first: int, body: bytes, version: int) -> list[str]:
    """Return what a packet says: its name, and each reason code where it has one ("SUBACK 0x97")."""
    kind = first >> 4
    name = NAMES.get(kind, f"packet {kind}")
    if kind in (packets.SUBACK, packets.UNSUBACK):
        start = after_length(body, 2) if version == V5 else 2
        return [f"{name} 0x{code:02X}" for code in body[start:]] or [name]
    if kind == packets.CONNACK:
        return [f"{name} 0x{body[1]:02X}"]
    if kind == packets.DISCONNECT:
        return [f"{name} 0x{body[0] if body else 0:02X}"]
    if kind in (packets.PUBACK, packets.PUBREC, packets.PUBREL, packets.PUBCOMP) and len(body) > 2 and body[2]:
        return [f"{name} 0x{body[2]:02X}"]
    return [name]
