"""One installation: its stores, filled as the broker does it, and its command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from broker.projector.projector import Projector
from settings import load
from store import schema
from store.connection import connect, connect_async
from store.model import Message, MessageId, encode_frame
from store.mongo import connect_mongo
from store.query import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def message(device: str, payload: Any, *, at_ms: int = 0, topic: str = "up", flags: int = 1) -> Message:
    """Return a message that is the device's by its topic, or by its client id where no level can hold its name."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    is_level = device and not set(device) & set("/+#")
    topic_name = f"devices/{device}/{topic}" if is_level else topic
    return Message(topic_name, device, at_ms or now_ms(), flags, body)


class Installation:
    """Stores at these URLs."""

    def __init__(self, redis_url: str, mongo_url: str = "") -> None:
        self.environ = {"REDIS_URL": redis_url, "MONGO_URL": mongo_url, "ALLOW_ANONYMOUS": "true"}
        self.settings = load(self.environ, "tcp")
        self.redis = connect(self.settings)
        self.database = connect_mongo(self.settings) if mongo_url else None
        self.query = Query(self.redis, self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.query.close()
        self.redis.close()
        if self.database is not None:
            self.database.client.close()

    def commit(self, messages: Sequence[Message], at_ms: int = 0) -> None:
        """Append one entry to the log, as if at `at_ms`."""
        self.redis.xadd(schema.LOG, {schema.LOG_FIELD: encode_frame(list(messages))}, id=f"{at_ms}-*" if at_ms else "*")

    def publish(self, *messages: Message, at_ms: int = 0) -> None:
        """Append one entry to the log and project it."""
        self.commit(messages, at_ms)
        asyncio.run(self.project())

    async def project(self) -> None:
        """Run the projector until the views show the whole log."""
        last = self.redis.xrevrange(schema.LOG, "+", "-", 1)[0][0].decode()
        client = connect_async(self.settings, retries=0)
        projector = asyncio.create_task(Projector(client, self.settings, "n1", now_ms).run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while self._position().log_id != last:  # noqa: ASYNC110  nothing tells when
                    await asyncio.sleep(0.005)
        finally:
            projector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await projector
            await client.aclose()

    def run(self, *arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
        """Run the store's command line to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self._environ(environ), input=stdin, capture_output=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the store's command line."""
        return subprocess.Popen(
            self.command(*arguments), cwd=ROOT, env=self._environ(environ), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def export(self, *arguments: str) -> bytes:
        """Return what an export writes."""
        done = self.run("export", *arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "store", *arguments]

    def _environ(self, environ: dict[str, str]) -> dict[str, str]:
        path = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
        return {**path, "REDIS_URL": self.environ["REDIS_URL"], "MONGO_URL": self.environ["MONGO_URL"], **environ}

    def _position(self) -> MessageId:
        return MessageId.parse((self.redis.hget(schema.FLEET, "position") or b"0-0").decode())
