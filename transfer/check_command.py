"""`python -m store check`: hold the views against the log, the histories and MongoDB, and set right what can be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvloop

from store import schema
from store.clock import wall_ms
from store.mending import Mender
from store.rollups import ages_s
from transfer.device_check import UNMENDABLE, DeviceCheck
from transfer.findings import Findings
from transfer.fleet_check import FleetCheck
from transfer.importer import Importer
from transfer.log_check import LogCheck
from transfer.long_check import LongCheck
from transfer.older_messages import OlderMessages
from transfer.progress import Progress
from transfer.stores import opened_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settings import Settings
    from transfer.device_check import DeviceReport

NAME_STEP = 500
REPAIR_TRIES = 3


def check(settings: Settings, *, repairs: bool) -> int:
    """Look whether views, histories, log and MongoDB agree, and say where not. Returns the number of differences.

    Raises ChangingError, redis.RedisError, PyMongoError, OSError.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_check(settings, repairs=repairs))


async def _check(settings: Settings, *, repairs: bool) -> int:
    async with opened_stores(settings) as stores:
        client, long_import = stores.client, stores.long_import
        findings = Findings(repairs=repairs)
        await _DevicesCheck(client, settings, Mender(client, stores.link), findings).run()
        importer = Importer(client, settings, stores.views, long_import, wall_ms)
        older = OlderMessages(client, stores.views, wall_ms)
        await LogCheck(client, settings, importer, older, long_import, findings).run()
        await FleetCheck(client, findings).run()
        if long_import is not None:
            await LongCheck(client, settings, long_import.database, findings).run()
        findings.end()
        return findings.count


class _DevicesCheck:
    """Checks one device after another."""

    def __init__(self, client: Any, settings: Settings, mender: Mender, findings: Findings) -> None:
        self._redis = client
        self._check = DeviceCheck(client, ages_s(settings), wall_ms())
        self._mender = mender
        self._findings = findings
        self._progress = Progress("devices")
        self._changing = 0

    async def run(self) -> None:
        """Check those that the list of names has, then those that only other keys name."""
        async for device_id in self._named():
            await self._device(device_id)
        async for device_id in self._others():
            if await self._redis.zscore(schema.DEVICES_NAMES, device_id) is None:
                await self._device(device_id)
        self._progress.end()
        self._findings.note(f"{self._progress.count:,} devices checked.")
        if self._changing:
            self._findings.note(f"{self._changing:,} were not: messages kept coming while they were looked at.")

    async def _named(self) -> AsyncIterator[str]:
        start = b"-"
        while True:
            names = await self._redis.zrangebylex(schema.DEVICES_NAMES, start, b"+", 0, NAME_STEP)
            for name in names:
                yield name.decode()
            if len(names) < NAME_STEP:
                return
            start = b"(" + names[-1]

    async def _others(self) -> AsyncIterator[str]:
        async for key in self._redis.scan_iter(match="d:{*}:record", count=NAME_STEP):
            yield schema.device_of(key.decode())
        async for name, _ in self._redis.zscan_iter(schema.DEVICES_SEEN, count=NAME_STEP):
            yield name.decode()

    async def _device(self, device_id: str) -> None:
        self._progress.add(1, device_id)
        for _ in range(REPAIR_TRIES):
            report = await self._check.check(device_id)
            if report is None:
                break
            if not self._findings.repairs or not report.differences or await self._repair(report):
                self._say(report)
                return
        self._changing += 1

    def _say(self, report: DeviceReport) -> None:
        for what in report.differences:
            is_repaired = self._findings.repairs and not what.endswith(UNMENDABLE)
            self._findings.add(f"device {report.device_id!r}", what, is_repaired=is_repaired)

    async def _repair(self, report: DeviceReport) -> bool:
        done = await self._mender.mend(report.device_id, report.position, report.messages, report.changes)
        if done:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(schema.DEVICES_SEEN, {report.device_id: report.last_seen})
            pipeline.zadd(schema.DEVICES_NAMES, {report.device_id: 0})
            await pipeline.execute()
        return done
