"""Follow the ingest log as it grows (sync reads)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.answers import MAX_PAGE, LiveMessages
from store.model import DeviceNaming, Message, MessageId, decode_frame
from store.scan import stored

if TYPE_CHECKING:
    from redis import Redis

    from store.answers import StoredMessage

MAX_BLOCK_MS = 5000  # well below the client's socket time-out
READ_BYTES = 1024 * 1024
ENTRY_STEP = 4
START = MessageId(0, 0)


def follow(client: Redis, naming: DeviceNaming, after: str | None, block_ms: int, count: int) -> LiveMessages:
    """Return up to `count` messages after a position, waiting up to `block_ms` for the first.

    Without a position: nothing but the position of the newest message. Raises ValueError for a bad position.
    """
    if after is None:
        return LiveMessages([], str(_newest(client)), has_gap=False)
    position = MessageId.parse(after)
    count = max(1, min(count, MAX_PAGE))
    rows, reached, has_gap = _read(client, naming, position, count)
    if not rows and block_ms > 0:
        client.xread({schema.LOG: reached.log_id}, count=1, block=min(block_ms, MAX_BLOCK_MS))
        rows, reached, has_gap = _read(client, naming, position, count)
    return LiveMessages(rows, str(reached), has_gap)


def _read(
    client: Redis, naming: DeviceNaming, position: MessageId, count: int
) -> tuple[list[StoredMessage], MessageId, bool]:
    rows: list[StoredMessage] = []
    start, reached, read_bytes, has_gap = position.log_id, position, 0, None
    while read_bytes < READ_BYTES:
        entries: Any = client.xrange(schema.LOG, start, "+", ENTRY_STEP)
        for log_id, fields in entries:
            if has_gap is None:  # the entry of the position itself is gone, and others after it may be
                has_gap = position != START and log_id.decode() != position.log_id
            read_bytes += len(fields.get(b"f", b""))
            for index, message in enumerate(_messages(fields)):
                message_id = MessageId.of(log_id, index)
                if message_id <= position:
                    continue
                reached = message_id
                rows.append(stored(message_id, naming.device_of(message.topic_name, message.client_id), message))
                if len(rows) == count:
                    return rows, reached, bool(has_gap)
        if len(entries) < ENTRY_STEP:
            break
        start = "(" + entries[-1][0].decode()
    return rows, reached, bool(has_gap)


def _newest(client: Redis) -> MessageId:
    entries: Any = client.xrevrange(schema.LOG, "+", "-", 1)
    for log_id, fields in entries:
        return MessageId.of(log_id, max(0, len(_messages(fields)) - 1))
    return START


def _messages(fields: dict[bytes, bytes]) -> list[Message]:
    try:
        return decode_frame(fields.get(b"f", b""))
    except ValueError:  # the projector logs and counts such entries
        return []
