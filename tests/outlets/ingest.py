"""What a broker would have committed: frames in the log of a real store, and what they should become."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import settings as application_settings
from broker.outlets.runner import OutletRunner
from store import schema
from store.connection import connect_async
from store.model import Message, MessageId, encode_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis

    from broker.outlets.outlet import Outlet
    from settings import Settings

DEVICES = 7
START_MS = 1_769_860_800_000  # 2026-01-31T12:00:00Z, so that readings cross days and a month
STEP_MS = 60_000
FOR_EVER = {"LONG_HISTORY_AGE_S": "0", "LONG_ROLLUP_AGE_S": "0"}  # MongoDB deletes by its own clock


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings_for(redis_url: str, mongo_url: str, **changes: object) -> Settings:
    environ = {"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true", **FOR_EVER}
    return application_settings.load(environ, "tcp").replace(**changes)


def reading(n: int) -> Message:
    """Return message `n` of a fleet that sends one a minute."""
    payload = json.dumps({"n": n, "env": {"t": n % 100 / 4}}).encode()
    return Message(f"devices/d{n % DEVICES}/up", f"gateway-{n % 3}", START_MS + n * STEP_MS, 1, payload)


def commit(store: redis.Redis, messages: list[Message]) -> list[MessageId]:
    """Append one entry to the log and return its messages' ids."""
    log_id = store.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(messages)})
    return [MessageId.of(log_id, index) for index in range(len(messages))]


def publish(store: redis.Redis, first: int, last: int, size: int = 25) -> None:
    for start in range(first, last, size):
        commit(store, [reading(n) for n in range(start, min(start + size, last))])


@contextlib.asynccontextmanager
async def running(outlet: Outlet, settings: Settings) -> AsyncIterator[None]:
    """Write the log to an outlet meanwhile."""
    async with connect_async(settings, retries=0) as client:
        task = asyncio.create_task(OutletRunner(outlet, client, settings, uuid4().hex[:12], now_ms).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,), timeout=10)
            assert task.cancelled()


async def until(condition: Callable[[], bool], what: str = "the condition", timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)
