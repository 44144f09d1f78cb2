"""What the store holds, read without the broker: the ingest log, and the views as the dashboard asks for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis
from broker_process import eventually

import settings
from store import schema
from store.connection import connect
from store.model import Message, decode_frame
from store.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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


@contextmanager
def views(redis_url: str, **more: str) -> Iterator[Query]:
    """Ask the store as the dashboard does, with `more` settings than it needs."""
    words = dict.fromkeys(("DASHBOARD_USERNAME", "DASHBOARD_PASSWORD", "SECRET_KEY"), "unused-but-required-here")
    configuration = settings.load({"REDIS_URL": redis_url, **words, **more}, "web")
    with connect(configuration) as client:
        yield Query(client, configuration)
