"""The hot path of reading: a run of plain PUBLISH packets straight out of the receive buffer.

It understands what devices send all the time: QoS 0 and 1, no DUP, no MQTT 5 properties, a topic name that has been seen and
found valid before, and a PUBACK of two bytes. At the first packet that is anything else it stops, and `connection.py` reads
that one the plain way, with every check. `tests/protocol/test_fast_publish.py` compares the two on generated input;
`python -m bench decode` prints what it is worth.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from broker.accounts import BoundedCache
from broker.wire.puback import Puback
from broker.wire.publish import Publish

if TYPE_CHECKING:
    from broker.wire.codec import Packet

KNOWN_TOPICS_BYTES = 4 * 1024 * 1024
ENTRY_BYTES = 240
"""What an entry takes besides its bytes, twice: the name's objects and its place in the dictionary."""


class KnownTopics(BoundedCache[bytes, str]):
    """Topic names found valid, by their UTF-8 bytes; bounded in bytes."""

    __slots__ = ()

    def __init__(self, limit_bytes: int = KNOWN_TOPICS_BYTES) -> None:
        super().__init__(limit_bytes)

    def admit(self, topic_name: str) -> None:
        """Remember a valid topic name. Names that begin with `$` always take the plain way."""
        if topic_name[:1] != "$":
            encoded = topic_name.encode()
            if encoded not in self.entries:
                self.put(encoded, topic_name, len(encoded) + sys.getsizeof(topic_name) + ENTRY_BYTES)


def read_publishes(  # noqa: C901, PLR0912  one loop without calls is what makes it fast
    buffer: bytes,
    position: int,
    limit: int,
    packets: list[Packet],
    known_topics: KnownTopics,
    max_packet_bytes: int,
    *,
    is_v5: bool,
) -> int:
    """Append the packets of the run at `position` to `packets`; return where it ends (`position`: nothing understood).

    The run ends with the first packet that reaches `limit`.
    """
    end = len(buffer)
    last = min(end - 3, limit)
    append, topic_of = packets.append, known_topics.entries.get
    while position < last:
        first = buffer[position]
        remaining = buffer[position + 1]
        start = position + 2
        if remaining > 127:
            high = buffer[position + 2]
            if not 0 < high < 128:
                break
            remaining += (high << 7) - 128
            start += 1
        stop = start + remaining
        if stop > end or stop - position > max_packet_bytes:
            break
        if first == 0x40 and remaining == 2:
            packet_id = buffer[start] << 8 | buffer[start + 1]
            if not packet_id:
                break
            append(Puback(packet_id))
            position = stop
            continue
        if first & 0xFC != 0x30:  # PUBLISH without DUP, QoS 0 or 1
            break
        topic_end = start + 2 + (buffer[start] << 8 | buffer[start + 1])
        if topic_end > stop:
            break
        topic_name = topic_of(buffer[start + 2 : topic_end])
        if topic_name is None:
            break
        packet_id = 0
        if first & 0x02:
            if topic_end + 2 > stop:
                break
            packet_id = buffer[topic_end] << 8 | buffer[topic_end + 1]
            if not packet_id:
                break
            topic_end += 2
        if is_v5:
            if topic_end >= stop or buffer[topic_end]:
                break
            topic_end += 1
        append(Publish(topic_name, buffer[topic_end:stop], first >> 1 & 1, bool(first & 1), False, packet_id))
        position = stop
    return position
