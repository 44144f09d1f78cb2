"""What the store holds of the ingest log, read without the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from broker_process import eventually

from store import schema
from store.model import Message, decode_frame

if TYPE_CHECKING:
    from collections.abc import Iterable


def stored_messages(redis_url: str) -> list[Message]:
    """Return every message of the ingest log, oldest first."""
    with redis.Redis.from_url(redis_url) as client:
        entries = client.xrange(schema.LOG)
    return [message for _, fields in entries for message in decode_frame(fields[schema.LOG_FIELD.encode()])]


def stored_payloads(redis_url: str) -> list[bytes]:
    """Return the payload of every message of the ingest log, oldest first."""
    return [message.payload for message in stored_messages(redis_url)]


def await_stored(redis_url: str, payloads: Iterable[bytes]) -> None:
    """Wait until the log holds each payload, for messages nobody acknowledges."""
    wanted = set(payloads)
    eventually(lambda: wanted <= set(stored_payloads(redis_url)), f"{len(wanted)} payloads in the log")
