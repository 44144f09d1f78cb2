"""Payloads that no reader of telemetry expects, and every broker has to store as they are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Malformation = Literal["not-json", "bad-utf-8", "binary", "huge", "empty"]

MALFORMATIONS: tuple[Malformation, ...] = get_args(Malformation)
HUGE_BYTES = 64 * 1024  # well below the broker's MAX_PACKET_BYTES by default


def payload(kind: Malformation, seq: int, random: Random) -> bytes:
    """Return a payload; all but `binary` and `empty` carry their number, as readings do."""
    return _MAKERS[kind](seq, random)


_MAKERS: dict[Malformation, Callable[[int, Random], bytes]] = {
    "not-json": lambda seq, _: b'{"seq":%d,"temperature":' % seq,
    "bad-utf-8": lambda seq, _: b'{"seq":%d,"name":"\xc3\x28\xff"}' % seq,
    "binary": lambda _, random: random.randbytes(64),
    "huge": lambda seq, random: b'{"seq":%d,"padding":"%s"}' % (seq, random.randbytes(HUGE_BYTES // 2).hex().encode()),
    "empty": lambda _seq, _random: b"",
}
