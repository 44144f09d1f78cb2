"""Hold the fleet's totals against the devices' counts (async)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import schema
from store.ingest_log import decode_entry
from store.model import MessageId

if TYPE_CHECKING:
    from transfer.findings import Findings

NAME_STEP = 500
MAX_WAITING_ENTRIES = 10_000
TOTALS = ("messages", "bytes")


class FleetCheck:
    """Compares totals while messages may be coming in. Raises redis.RedisError."""

    def __init__(self, client: Any, findings: Findings) -> None:
        self._redis = client
        self._findings = findings

    async def run(self) -> None:
        """Compare; what is projected meanwhile may be in one and not yet in the other."""
        before = await self._totals()
        sums = await self._sums()
        waiting = await self._waiting()
        after = await self._totals()
        is_still = before == after and not any(waiting)
        for index, name in enumerate(TOTALS):
            low, high = before[index], after[index] + waiting[index]
            if low <= sums[index] <= high:
                continue
            if self._findings.repairs and is_still:
                await self._redis.hincrby(schema.FLEET, name, sums[index] - after[index])
            what = f"{name} are {after[index]}, those of all devices {sums[index]}"
            self._findings.add("fleet", what, is_repaired=self._findings.repairs and is_still)

    async def _totals(self) -> list[int]:
        return [int(each or 0) for each in await self._redis.hmget(schema.FLEET, TOTALS)]

    async def _sums(self) -> list[int]:
        sums, start = [0, 0], b"-"
        while True:
            names = await self._redis.zrangebylex(schema.DEVICES_NAMES, start, b"+", 0, NAME_STEP)
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.hmget(schema.device(name.decode(), "record"), TOTALS)
            for counts in await pipeline.execute():
                sums = [total + int(each or 0) for total, each in zip(sums, counts, strict=True)]
            if len(names) < NAME_STEP:
                return sums
            start = b"(" + names[-1]

    async def _waiting(self) -> list[int]:
        """Return messages and bytes that the log holds behind the views' position: some devices may have them already."""
        position = await self._redis.hget(schema.FLEET, "position")
        after = MessageId.parse((position or b"0-0").decode())
        entries = await self._redis.xrange(schema.LOG, f"({after.log_id}", "+", MAX_WAITING_ENTRIES)
        waiting = [0, 0]
        for _, fields in entries:
            try:
                messages = decode_entry(fields.get(schema.LOG_FIELD.encode()))
            except ValueError:
                continue
            waiting[0] += len(messages)
            waiting[1] += sum(len(message.payload) for message in messages)
        return waiting
