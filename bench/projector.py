"""What the projector costs: µs of this process for each message, and the longest hold of its event loop.

    python -m bench.projector [messages]

Writes a log into an embedded Valkey, projects it, and prints two shapes: ten busy devices, and a fleet of 5000.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

import settings as application_settings
from broker.projector import Projector
from local.valkey import EmbeddedValkey
from store import schema
from store.connection import connect_async
from store.model import Message, encode_frame

ENTRY_MESSAGES = 2000
PAYLOAD = b'{"temperature": 21.%03d, "humidity": %d, "battery": 3.71, "firmware": "1.4.2-rc1+build.2026.11.21"}'


def log_entry(first: int, devices: int) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    return encode_frame([
        Message(f"devices/d{n % devices}/telemetry", f"client-{n % devices}", now_ms, 1, PAYLOAD % (n % 1000, n % 100))
        for n in range(first, first + ENTRY_MESSAGES)
    ])  # fmt: skip


async def longest_hold() -> None:
    """Note how late the loop comes back to a task that is always ready."""
    global longest_s  # noqa: PLW0603
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        longest_s = max(longest_s, time.perf_counter() - before - 0.005)


longest_s = 0.0


async def measure(url: str, messages: int, devices: int) -> None:
    global longest_s
    settings = application_settings.load({"REDIS_URL": url, "ALLOW_ANONYMOUS": "true"}, "tcp")
    async with connect_async(settings, retries=0) as client:
        await client.flushall()
        for first in range(0, messages, ENTRY_MESSAGES):
            await client.xadd(schema.LOG, {schema.LOG_FIELD: log_entry(first, devices)})
        projector = Projector(client, settings, "bench", lambda: time.time_ns() // 1_000_000)
        watch, run = asyncio.create_task(longest_hold()), asyncio.create_task(projector.run())
        longest_s, started_s, cpu_s = 0.0, time.perf_counter(), time.process_time()
        while projector.projected_messages < messages:  # noqa: ASYNC110  the projector has no event for this
            await asyncio.sleep(0.01)
        wall_us = (time.perf_counter() - started_s) / messages * 1e6
        cpu_us = (time.process_time() - cpu_s) / messages * 1e6
        for task in (watch, run):
            task.cancel()
        await asyncio.wait((watch, run))
    print(
        f"{devices:>5} devices: {cpu_us:5.2f} µs of this process a message, {wall_us:5.2f} µs in all;"
        f" longest hold of the loop {longest_s * 1000:.1f} ms"
    )


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder))
        server.start()
        try:
            for devices in (10, 5000):
                uvloop.run(measure(server.url, messages, devices))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
