"""Fill a real store the way the broker does: frames in the ingest log, then the real projector."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import redis

from broker.projector.projector import Projector
from settings import load
from store import schema
from store.connection import connect_async
from store.model import Message, MessageId, encode_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE_S = 20


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def message(topic_name: str, payload: Any, *, client_id: str = "", at_ms: int = 0, flags: int = 1) -> Message:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(topic_name, client_id or topic_name.split("/")[1], at_ms or now_ms(), flags, body)


class Seed:
    """Writes to one store as the broker would."""

    def __init__(self, redis_url: str) -> None:
        self.settings = load({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, "tcp")
        self._redis = redis.Redis.from_url(redis_url)

    def close(self) -> None:
        self._redis.close()

    def commit(self, messages: Sequence[Message]) -> list[MessageId]:
        """Append one frame to the log; its messages are not in the views yet."""
        log_id = self._redis.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(list(messages))})
        return [MessageId.of(log_id, index) for index in range(len(messages))]

    def publish(self, *messages: Message) -> list[MessageId]:
        """Append the messages as one frame and project them."""
        ids = self.commit(messages)
        with ThreadPoolExecutor(1) as thread:  # a test with a browser has a running loop in its own
            thread.submit(asyncio.run, self._project(ids[-1])).result()
        return ids

    def node(self, devices: dict[str, int], node_id: str = "tcp-1.abc", **info_more: int) -> None:
        """Write what a living broker process says of itself, with its devices and since when each is connected."""
        info = {
            "container": "tcp-1",
            "version": "0.1.0",
            "started_ms": now_ms() - 7_200_000,
            "heartbeat_ms": now_ms(),
            "connections": len(devices),
            "messages_received": 1000,
            **info_more,
        }
        self._redis.zadd(schema.NODES, {node_id: now_ms() + 3_600_000})  # a heartbeat that lasts as long as the test
        self._redis.hset(schema.node_info(node_id), mapping={name: str(value) for name, value in info.items()})
        if devices:
            self._redis.zadd(schema.presence(node_id), {name: float(since) for name, since in devices.items()})

    def _position(self) -> MessageId:
        return MessageId.parse((self._redis.hget(schema.FLEET, "position") or b"0-0").decode())

    async def _project(self, last: MessageId) -> None:
        client = connect_async(self.settings, retries=0)
        projector = asyncio.create_task(Projector(client, self.settings, "seed", now_ms).run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while self._position() < last:  # noqa: ASYNC110  nothing tells when
                    await asyncio.sleep(0.005)
        finally:
            projector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await projector
            await client.aclose()


def fleet(devices: int = 12, hours: float = 3.0, every_s: int = 60) -> list[Message]:
    """Return telemetry of a believable fleet, oldest first."""
    now = now_ms()
    messages = []
    for minute in range(int(hours * 3600 / every_s), -1, -1):
        at_ms = now - minute * every_s * 1000
        messages += [_telemetry(number, at_ms) for number in range(devices) if number % 6 != 5 or minute > 40]
    return messages


def _telemetry(number: int, at_ms: int) -> Message:
    phase = at_ms / 3_600_000 * math.tau / 6 + number
    payload = {
        "temperature": round(21 + 4 * math.sin(phase) + 0.3 * math.sin(phase * 37), 2),
        "humidity": round(48 + 9 * math.cos(phase) + 0.5 * math.cos(phase * 41), 1),
        "battery": round(3.9 - number * 0.05 - 0.05 * math.sin(phase / 7), 3),
    }
    site = ("greenhouse", "warehouse", "rooftop", "cellar")[number % 4]
    return message(f"devices/{site}-{number + 1:02}/telemetry", payload, at_ms=at_ms)
